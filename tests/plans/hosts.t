=== a host nobody defined
--- file plan.yaml
plan: hosts
hosts: { kvm1: { ssh: root@kvm1 }, db1: { ssh: root@db1 } }
machines:
  one:
    recipe: p2v
    source: { host: db11, disks: [/dev/sda], power: { command: { off: [a], on: [b], status: [c], at: elsewhere } } }
    target: { host: kmv1, dir: /srv/new }
    backup: [ image: { to: "nas:/backup" } ]
    cutover: [ command: { at: lb, argv: [a] } ]
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:6:21: no host is called 'db11'
    6 |     source: { host: db11, disks: [/dev/sda], power: { command: { off: [a], on: [b], status: [c], at: elsewhere } } }
      |                     ^
  did you mean 'db1'?
plan.yaml:6:102: no host is called 'elsewhere'
    6 |     source: { host: db11, disks: [/dev/sda], power: { command: { off: [a], on: [b], status: [c], at: elsewhere } } }
      |                                                                                                      ^
  define it: hosts: { elsewhere: { ssh: user@host } }
plan.yaml:7:21: no host is called 'kmv1'
    7 |     target: { host: kmv1, dir: /srv/new }
      |                     ^
  did you mean 'kvm1'?
plan.yaml:8:28: no host is called 'nas'
    8 |     backup: [ image: { to: "nas:/backup" } ]
      |                            ^
  define it: hosts: { nas: { ssh: user@host } }
plan.yaml:9:31: no host is called 'lb'
    9 |     cutover: [ command: { at: lb, argv: [a] } ]
      |                               ^
  define it: hosts: { lb: { ssh: user@host } }
5 errors

=== names that would reach a shell
--- file plan.yaml
plan: hosts
hosts:
  a: { ssh: "root;reboot@a" }
  b: { ssh: "root@-oProxyCommand=reboot" }
  c: { ssh: "$(reboot)@c" }
  d: { ssh: { user: "a b", host: d } }
  e: { ssh: "root@e:99999" }
  f: { ssh: "root@f\n" }
machines:
  one: { recipe: v2v, source: { host: a, images: [/srv/one.raw] }, target: { host: b, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:13: 'root;reboot' cannot be a user
    3 |   a: { ssh: "root;reboot@a" }
      |             ^
  users are letters, digits, '.', '_', '$' and '-'
plan.yaml:4:13: '-oProxyCommand=reboot' cannot be a host
    4 |   b: { ssh: "root@-oProxyCommand=reboot" }
      |             ^
  write user@host, user@host:port or an alias of ~/.ssh/config
plan.yaml:5:13: '$(reboot)' cannot be a user
    5 |   c: { ssh: "$(reboot)@c" }
      |             ^
  users are letters, digits, '.', '_', '$' and '-'
plan.yaml:6:13: 'a b' cannot be a user
    6 |   d: { ssh: { user: "a b", host: d } }
      |             ^
  users are letters, digits, '.', '_', '$' and '-'
plan.yaml:7:13: the port must be between 1 and 65535
    7 |   e: { ssh: "root@e:99999" }
      |             ^
plan.yaml:8:13: 'f\x0a' cannot be a host
    8 |   f: { ssh: "root@f\n" }
      |             ^
  write user@host, user@host:port or an alias of ~/.ssh/config
6 errors

=== every way to reach a host
--- file plan.yaml
plan: hosts
hosts:
  a: { ssh: alias }
  b: { ssh: "root@[2001:db8::1]:2222" }
  c: { ssh: 2001:db8::2 }
  d: { ssh: { host: d, port: 2022 }, transport: libssh, known_hosts: hosts.key }
  e: { ssh: me@e, become: { sudo: true } }
  here: { local: true }
machines:
  one: { recipe: v2v, source: { host: a, images: [/srv/one.raw] }, target: { host: b, dir: /srv/new } }
  two: { recipe: v2v, source: { host: c, images: [/srv/one.raw] }, target: { host: d, dir: /srv/new } }
  tri: { recipe: v2v, source: { host: e, images: [/srv/one.raw] }, target: { host: here, dir: /srv/new } }
--- run check plan.yaml
--- stdout
hosts: 3 machines, 6 hosts, 48 steps
Next: drover preview plan.yaml

=== hosts that say nothing, or two things
--- file plan.yaml
plan: hosts
hosts:
  a: { local: true, ssh: root@a }
  b: { local: false }
  c: { identity: ~/.ssh/id }
  target: { local: true }
  "-x": { local: true }
  e: { ssh: root@e, transport: openssh }
  f: { ssh: { user: root } }
  g:
machines:
  one: { recipe: v2v, source: { host: a, images: [/srv/one.raw] }, target: { host: b, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:26: host 'a' cannot be both local and reached by ssh
    3 |   a: { local: true, ssh: root@a }
      |                          ^
plan.yaml:4:6: host 'b' says no way to reach it
    4 |   b: { local: false }
      |      ^
  write local: true, or ssh: user@host
plan.yaml:5:6: host 'c' says no way to reach it
    5 |   c: { identity: ~/.ssh/id }
      |      ^
  write local: true, or ssh: user@host
plan.yaml:6:3: a host cannot be called 'target'
    6 |   target: { local: true }
      |   ^
  `at: target` means a machine's own
plan.yaml:7:3: '-x' cannot be a name
    7 |   "-x": { local: true }
      |   ^
  names are letters, digits, '.', '_' and '-', at most 64; they begin with a letter or digit, and do not end in .lock
plan.yaml:8:32: 'transport' must be libssh: 'openssh'
    8 |   e: { ssh: root@e, transport: openssh }
      |                                ^
plan.yaml:9:13: 'host' is missing
    9 |   f: { ssh: { user: root } }
      |             ^
  host: name, address or an alias of ~/.ssh/config
plan.yaml:10:5: 'host' has no value
   10 |   g:
      |     ^
  host: where an agent runs
8 errors

=== secrets are references
--- file plan.yaml
plan: hosts
secrets:
  kvm: { env: KVM, file: /root/kvm }
  ilo: hunter2
  vault: {}
  asked: { prompt: "password of kvm" }
hosts:
  a: { ssh: root@a, become: { sudo: { password: hunter2 } } }
  b: { ssh: root@b, become: { sudo: { password: "secret:kmv" } } }
machines:
  one: { recipe: v2v, source: { host: a, images: [/srv/one.raw] }, target: { host: b, dir: /srv/new } }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:3:3: secret 'kvm' must say one way to fetch it
    3 |   kvm: { env: KVM, file: /root/kvm }
      |   ^
  one of file, env, command or prompt
plan.yaml:4:8: 'secret' must be a map, not text
    4 |   ilo: hunter2
      |        ^
  secret: where a secret is fetched from
plan.yaml:5:3: secret 'vault' must say one way to fetch it
    5 |   vault: {}
      |   ^
  one of file, env, command or prompt
plan.yaml:8:49: 'password' must be a reference like "secret:NAME", never the secret itself: 'hunter2'
    8 |   a: { ssh: root@a, become: { sudo: { password: hunter2 } } }
      |                                                 ^
plan.yaml:9:49: no secret is called 'kmv'
    9 |   b: { ssh: root@b, become: { sudo: { password: "secret:kmv" } } }
      |                                                 ^
  did you mean 'kvm'?
5 errors

=== a secret stands only where one is looked up
--- file plan.yaml
plan: hosts
vars: { pass: "secret:kvm" }
secrets: { kvm: { env: KVM } }
hosts: { a: { local: true } }
machines:
  one:
    source: { host: a, images: [/srv/one.raw] }
    target: { host: a, dir: /srv/new }
    convert:
      - disks: {}
      - command: { id: ok, argv: ["cat"], stdin: "secret:kvm" }
      - command: { id: bare, argv: ["echo", "secret:kvm"] }
      - command: { id: hidden, argv: ["echo", "${pass}"] }
      - command: { id: typo, argv: ["cat"], stdin: "secret:kmv" }
--- run check plan.yaml
--- status 2
--- stderr
plan.yaml:12:45: 'argv' cannot be a secret
   12 |       - command: { id: bare, argv: ["echo", "secret:kvm"] }
      |                                             ^
  a secret may stand in become.sudo.password, in the values of a check's `with`, and in the `stdin` of a command and of source.power.command
plan.yaml:13:47: 'argv' cannot be a secret
   13 |       - command: { id: hidden, argv: ["echo", "${pass}"] }
      |                                               ^
  a secret may stand in become.sudo.password, in the values of a check's `with`, and in the `stdin` of a command and of source.power.command
plan.yaml:14:52: no secret is called 'kmv'
   14 |       - command: { id: typo, argv: ["cat"], stdin: "secret:kmv" }
      |                                                    ^
  did you mean 'kvm'?
3 errors

=== what switches a machine's power may read a secret
--- file plan.yaml
plan: x
secrets: { ipmi: { env: IPMI } }
hosts:
  a: { ssh: a.example }
  here: { local: true }
machines:
  one:
    source:
      host: a
      disks: [/dev/sda]
      power:
        command:
          "off": [ipmi-off]
          "on": [ipmi-on]
          status: [ipmi-status]
          at: here
          stdin: "secret:ipmi"
    target: { host: here, dir: /srv/new }
    convert:
      - disks: {}
--- sh
drover check --expand plan.yaml | grep stdin
--- stdout
          stdin: "secret:ipmi"

=== two names of one machine work side by side
--- file plan.yaml
plan: twice
hosts: { old: { local: true }, new: { local: true } }
machines:
  db:
    source: { host: old, images: [/tmp/none.raw] }
    target: { host: new, dir: /tmp/none }
    assess: []
    convert:
      - command: { id: one, at: source, argv: [touch, one], probe: [test, -e, one] }
      - command: { id: two, at: target, argv: [touch, two], probe: [test, -e, two] }
      - command: { id: three, at: source, argv: [touch, three], probe: [test, -e, three] }
      - command: { id: four, at: target, argv: [touch, four], probe: [test, -e, four] }
--- sh
drover run plan.yaml >out; s=$?
grep -E 'DOWN|convert\.|wait' out | sed 's/^[^ ]* *//; s/done in.*/done/'
exit $s
--- stdout
