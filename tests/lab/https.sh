#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The ready-made check `http` asks over HTTPS: a server whose certificate nobody here trusts
# fails it with the reason; once its authority is one that this machine trusts it passes; a
# certificate for another address fails again.
. "$(dirname "$0")/../lib/lab.sh"
lab_enter "$0" "$@"
cd "$LAB" || exit 1

key() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "$@" 2>openssl.log || { cat openssl.log; fail "no key"; }; }
key -x509 -days 2 -subj "/CN=the lab's authority" -keyout ca.key -out ca.pem
key -subj "/CN=shop" -keyout shop.key -out shop.csr
echo "subjectAltName=IP:127.0.0.1" >shop.ext
openssl x509 -req -in shop.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile shop.ext -out shop.pem 2>openssl.log ||
	{ cat openssl.log; fail "no certificate"; }
openssl s_server -quiet -accept 8443 -cert shop.pem -key shop.key -www >server.log 2>&1 &
up() { (exec 3<>/dev/tcp/127.0.0.1/8443); }
wait_for 120 up || { cat server.log; fail "the server does not come up"; }

plan() {
	cat >plan.yaml <<-END
	plan: shop
	hosts: { here: { local: true } }
	machines:
	  shop:
	    source: { host: here, images: { root: "$LAB/none.raw" } }
	    target: { host: here, dir: "$LAB/there" }
	    validate: [ check: { id: asks, at: here, use: http, with: { url: "https://$1:8443/", pattern: "Ciphers" } } ]
	END
}
plan 127.0.0.1
export COLUMNS=1000
expect 1 "$DROVER" run plan.yaml
said "cannot ask 'https://127.0.0.1:8443/': SSL peer certificate"
cp /etc/ssl/certs/ca-certificates.crt trusted.crt
cat ca.pem >>trusted.crt
mount --bind trusted.crt /etc/ssl/certs/ca-certificates.crt
expect 0 "$DROVER" run plan.yaml
said "validate.asks +done"
rm -rf .drover
plan 127.0.0.2
expect 1 "$DROVER" run plan.yaml
said "cannot ask 'https://127.0.0.2:8443/': SSL peer certificate"
