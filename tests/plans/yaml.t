=== a plan that is not there
--- run check plan.yaml
--- status 2
--- stderr
drover: cannot read 'plan.yaml': No such file or directory
  a plan is a YAML file that begins with plan: NAME

=== a plan that is a directory
--- make
mkdir plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
drover: cannot read 'plan.yaml': Is a directory
  a plan is a YAML file that begins with plan: NAME

=== a plan that leads to itself
--- make
ln -s plan.yaml plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
drover: cannot read 'plan.yaml': Too many levels of symbolic links

=== an empty plan
--- file plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: the file is empty
  a plan begins with plan: NAME

=== a plan of nothing but comments
--- file plan.yaml
# soon
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: the file is empty
  a plan begins with plan: NAME

=== a binary file
--- make
head -c 64 /dev/zero >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: this is not a text file: it holds NUL bytes

=== text that is not UTF-8
--- make
printf 'plan: a\nhosts:\n  caf\351: { local: true }\n' >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:7: this is not text: invalid trailing UTF-8 octet
  a plan is YAML in UTF-8

=== control characters
--- make
printf 'plan: a\nvars: { a: "\033[31m" }\n' >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:13: this is not text: control characters are not allowed
    2 | vars: { a: "\x1b[31m" }
      |             ^
  a plan is YAML in UTF-8

=== a plan larger than 64 MiB
--- make
truncate -s 67108865 plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
drover: cannot read 'plan.yaml': it is larger than 64 MiB

=== lists nested without end
--- make
{ printf 'plan: '; head -c 40000 /dev/zero | tr '\0' '['; } >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:70: nested deeper than 64 levels

=== maps nested without end
--- make
{ for i in $(seq 0 90); do printf "%${i}sa:\n" ''; done; } >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:65:65: nested deeper than 64 levels
   65 |                                                                 a:
      |                                                                 ^

=== aliases that blow up
--- file plan.yaml
plan: bomb
vars:
  a: &a [x, x, x, x, x, x, x, x, x]
  b: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]
  c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
  d: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]
  e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]
  f: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]
  g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]
  h: &h [*g, *g, *g, *g, *g, *g, *g, *g, *g]
  i: &i [*h, *h, *h, *h, *h, *h, *h, *h, *h]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:18: the aliases repeat too much: they stand for more than 10 times what is written
    5 |   c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]
      |                  ^
  32 nodes are written; with this alias 363 would be copies

=== an alias inside what it names
--- file plan.yaml
plan: loop
vars: &v { a: *v }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: the plan has no machines
  add machines: { NAME: { source: ..., target: ... } }
plan.yaml:2:15: the alias '*v' lies inside what it names
    2 | vars: &v { a: *v }
      |               ^
2 errors

=== an alias without an anchor
--- file plan.yaml
plan: loop
vars: { a: *nothing }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml: the plan has no machines
  add machines: { NAME: { source: ..., target: ... } }
plan.yaml:2:12: the alias '*nothing' names nothing above it
    2 | vars: { a: *nothing }
      |            ^
2 errors

=== a key that stands twice
--- file plan.yaml
plan: twice
hosts:
  here: { local: true }
  here: { ssh: root@there }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:4:3: the key 'here' stands here twice
    4 |   here: { ssh: root@there }
      |   ^
  it was given before in line 3

=== a tag
--- file plan.yaml
plan: !!str tagged
hosts: { here: !vault { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:7: the tag 'tag:yaml.org,2002:str' is not known
    1 | plan: !!str tagged
      |       ^
  plans have no tags; put quotes around the value if it is text
plan.yaml:2:16: the tag '!vault' is not known
    2 | hosts: { here: !vault { local: true } }
      |                ^
  plans have no tags; put quotes around the value if it is text
2 errors

=== a merge key
--- file plan.yaml
plan: merged
hosts: { here: { local: true } }
defaults: { target: &t { host: here, dir: /srv/new } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { <<: *t, cpus: 2 } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:5:81: merge keys ('<<') are not part of YAML 1.2
    5 |   one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { <<: *t, cpus: 2 } }
      |                                                                                 ^
  put what machines share into `defaults:`

=== tabs
--- make
printf 'plan: a\nhosts:\n\there: { local: true }\n' >plan.yaml
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:1: this is not YAML: found character that cannot start any token
    3 | 	here: { local: true }
      | ^
  text that begins with a tab, @ or ` needs quotes; indent with spaces

=== a key without its colon
--- file plan.yaml
plan shop
hosts: { here: { local: true } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:6: this is not YAML: mapping values are not allowed in this context
    2 | hosts: { here: { local: true } }
      |      ^
  is the ':' behind a key missing in the line before, or is this a text with ': ' in it, which needs quotes?

=== a bracket that is never closed
--- file plan.yaml
plan: open
hosts: { here: { local: true }
machines:
  one: {}
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:1: this is not YAML: did not find expected ',' or '}'
    3 | machines:
      | ^
  while parsing a flow mapping that begins in line 2

=== a second document
--- file plan.yaml
plan: one
---
plan: two
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:1: a second document begins here
    2 | ---
      | ^

=== a list where a plan is meant
--- file plan.yaml
- hosts: all
  tasks: []
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:1:1: a plan is a map of keys, not a list
    1 | - hosts: all
      | ^
  it begins with plan: NAME

=== keys that are no words
--- file plan.yaml
plan: keys
vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
hosts: { here: { local: true } }
machines:
  one: { recipe: v2v, source: { host: here, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:2:9: the key true reads differently to different programs
    2 | vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
      |         ^
  put quotes around it: "true"
plan.yaml:2:18: the key 1.5 reads differently to different programs
    2 | vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
      |                  ^
  put quotes around it: "1.5"
plan.yaml:2:26: the key ~ reads differently to different programs
    2 | vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
      |                          ^
  put quotes around it: "~"
plan.yaml:2:32: a key must be a plain word, not a list
    2 | vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
      |                                ^
plan.yaml:2:40: the name no is a boolean to many programs
    2 | vars: { true: a, 1.5: b, ~: c, [a]: d, no: e }
      |                                        ^
  put quotes around it: "no"
5 errors
