=== every verb has its manual page, made from the tables
--- make
"$DROVER" help | sed -n '/^verbs/,/^options/s/^  \([a-z]*\) .*/\1/p' >verbs
test "$(wc -l <verbs)" -ge 15
for verb in $(cat verbs); do
	"$DROVER" help --man "$verb" | grep -v '^\.Dd' >page
	grep -v '^\.Dd' "$root/docs/man/drover-$verb.1" | diff - page
done
"$DROVER" help --man | grep -v '^\.Dd' >page
grep -v '^\.Dd' "$root/docs/man/drover.1" | diff - page
--- run help --man nosuch
--- status 100
--- stderr
drover: unknown verb 'nosuch'
  `drover help` lists the verbs

=== the page of the modules is made from the tables
--- make
"$root/tools/modules-page" "$DROVER" | diff "$root/docs/modules.md" -
--- run help --man nosuch
--- status 100
--- stderr
drover: unknown verb 'nosuch'
  `drover help` lists the verbs
