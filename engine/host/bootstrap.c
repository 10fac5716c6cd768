/* SPDX-License-Identifier: Apache-2.0
 * bootstrap - the agent into the host's memory, over the exec channel's stdin. One
 * fixed shell command looks at the machine, finds a tmpfs that may hold programs, says
 * `go`, takes the bytes and becomes the agent, which removes its own file at once.
 */
#include "engine/host/ssh.h"

#include "engine/base/io.h"

#include <string.h>
#include <sys/utsname.h>

#define MARK "DROVER0 "

/* $1 nonce, $2 size, $3 digest, $4 "Linux x86_64", $5 size when packed or 0. One line, no
 * single quote, no exclamation mark: it passes any login shell unharmed. */
static const char script[] =
	"trap \"\" PIPE; umask 077; s=$(uname -sm); "
	"[ \"$s\" = \"$4\" ] || { echo \"" MARK "$1 no arch $s\"; exit 1; }; "
	"m=; while read -r a b c e; do case $b in /run|/tmp|/dev/shm|/run/user/*) m=\"$m $b=$c \";; "
	"esac; done </proc/mounts; "
	"t() { case ${m##*\" $1=\"} in tmpfs\\ *) return 0;; esac; return 1; }; "
	"f=; w=; for d in /run/user/* /dev/shm /run /tmp; do t \"$d\" || continue; "
	"case $d in /run/u*) [ -O $d ] || continue;; esac; "
	"p=$d/drover-$1; mkdir $p 2>/dev/null || continue; "
	"echo exit 0 >$p/a && chmod 700 $p/a && $p/a 2>/dev/null && { f=$p; break; }; "
	"rm -rf $p; w=\"$w $d\"; done; "
	"[ \"$f\" ] || { [ \"$w\" ] && echo \"" MARK "$1 no noexec$w\" || echo \"" MARK
	"$1 no tmpfs -\"; exit 1; }; "
	"z=; [ $5 -gt 0 ] && command -v zstd >/dev/null && z=\" zstd\"; echo \"" MARK "$1 go$z\"; "
	"{ if [ \"$z\" ]; then head -c $5 | zstd -dcq; else head -c $2; fi; } >$f/a 2>/dev/null && "
	"[ $(wc -c <$f/a) -eq $2 ] || "
	"{ rm -rf $f; echo \"" MARK "$1 no space $d\"; exit 1; }; "
	"exec $f/a --serve $1 --expect $3 --remove $f";

static char *agent_system(void)
{
	struct utsname u;

	uname(&u);
	return mem_printf("%s %s", u.sysname, u.machine);
}

/* ---- what the host answers --------------------------------------------------------- */

static const struct {
	const char *word;
	const char *text;	/* %s: the detail */
	const char *hint;
} refusals[] = {
	{ "arch", "it is a machine of another kind: %s",
	  "drover's agent runs on machines of the same kind as drover itself" },
	{ "noexec", "programs may not run from any tmpfs there: %s",
	  "allow it for one of them: mount -o remount,exec /dev/shm" },
	{ "tmpfs", "no tmpfs there can be written to, and no disk may be%.0s",
	  "mount one: mount -t tmpfs -o mode=1777 tmpfs /dev/shm" },
	{ "space", "not enough space in %s",
	  "it needs 8 MiB: remove files there, or make it larger: mount -o remount,size=64m" },
};

static void refuse(struct sshost *s, const char *word, const char *detail)
{
	AUTO_ERR e = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
		AUTO_STR text = { 0 };

		if (strcmp(refusals[i].word, word) != 0)
			continue;
		str_addf(&text, refusals[i].text, detail);
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': %s",
			s->host->name, text.s);
		err_hint(&e, "%s", refusals[i].hint);
		sshost_fail(s, &e);
		return;
	}
	err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': it answers '%s'",
		s->host->name, word);
	sshost_fail(s, &e);
}

/* A whole line after the mark: "go", "go zstd" or "no WORD DETAIL". */
static void take_answer(struct sshost *s, char *line)
{
	AUTO_STR safe = { 0 };
	bool plain = strcmp(line, "go") == 0;
	char *word, *detail;

	if (plain || strcmp(line, "go zstd") == 0) {
		s->blob = plain ? link_agent_blob(&s->size) : link_agent_packed(&s->size);
		str_free(&s->start_noise);
		link_begin(s->link, s->nonce);
		return;
	}
	word = strncmp(line, "no ", 3) == 0 ? line + 3 : line;
	detail = strchr(word, ' ');
	if (detail)
		*detail++ = '\0';
	str_add_safe(&safe, detail ? detail : "");
	refuse(s, word, safe.s ? safe.s : "");
}

static void look_for_answer(struct sshost *s, const void *p, size_t n)
{
	AUTO_FREE char *mark = mem_printf(MARK "%s ", s->nonce);
	AUTO_ERR e = { 0 };
	char *at, *end;

	str_addn(&s->start_noise, p, n);
	at = memmem(s->start_noise.s, s->start_noise.len, mark, strlen(mark));
	if (at) {
		at += strlen(mark);
		end = strchr(at, '\n');
		if (end) {
			AUTO_FREE char *line = mem_strndup(at, (size_t)(end - at));

			take_answer(s, line);
		}
	} else if (s->start_noise.len > LINK_NOISE_MAX) {
		AUTO_FREE char *tail = mem_strndup(s->start_noise.s, 160);
		AUTO_STR safe = { 0 };

		tail[strcspn(tail, "\r\n")] = '\0';
		str_add_safe(&safe, tail);
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': more than 64 KiB "
			"came before it, beginning with '%s'", s->host->name, safe.s);
		err_hint(&e, "start-up files of the shell must print nothing when no "
			 "terminal is there");
		sshost_fail(s, &e);
	}
}

static size_t on_data(struct chan *c, const void *p, size_t n)
{
	struct sshost *s = c->host;

	if (s->blob)
		link_feed(s->link, p, n);
	else if (!err_is(&s->why))
		look_for_answer(s, p, n);
	return n;
}

static void on_words(struct chan *c, const void *p, size_t n)
{
	link_stderr(c->host->link, p, n);
}

static void on_turn(struct chan *c)
{
	struct sshost *s = c->host;

	while (s->sent < s->size) {
		size_t n = chan_write(c, s->blob + s->sent, s->size - s->sent);

		if (n == 0)
			return;
		s->sent += n;
	}
	if (s->blob)
		link_writable(s->link);
}

/* ---- the end ------------------------------------------------------------------------- */

static void no_root(struct sshost *s, const struct chan *c, struct err *e)
{
	const char *words = link_last_words(s->link);

	if (c->failed)
		err_set(e, ERR_SYSTEM, "cannot become root on '%s': %s", s->host->name,
			c->failed);
	else
		err_set(e, ERR_SYSTEM, "cannot become root on '%s': %s", s->host->name,
			*words ? words : "sudo ended without a word");
	if (s->to.sudo_password)
		err_hint(e, "is %s in sudoers there, and the password the right one? "
			 "ssh -t %s@%s sudo true", s->to.user, s->to.user, s->to.host);
	else
		err_hint(e, "give the password: become: { sudo: { password: \"secret:NAME\" } }, "
			 "or let sudoers ask for none: %s ALL=(root) NOPASSWD: ALL",
			 s->to.user);
}

/* It said `go` and took it back: the answer is among what came before a preamble. */
static bool took_it_back(struct sshost *s)
{
	AUTO_FREE char *mark = mem_printf(MARK "%s no ", s->nonce);
	AUTO_FREE char *noise = mem_strdup(link_noise(s->link));
	char *at = strstr(noise, mark);

	if (at)
		take_answer(s, at + strlen(mark) - strlen("no "));
	return at != NULL;
}

static void on_end(struct chan *c)
{
	struct sshost *s = c->host;
	AUTO_ERR e = { 0 };
	const char *words;

	if (s->host->ready || s->state == SSH_UP) {
		sshost_fail(s, &e);	/* a plain end: link_down() finds the words */
		return;
	}
	if (s->blob && took_it_back(s))
		return;
	if (!s->blob && s->to.sudo) {
		no_root(s, c, &e);
		sshost_fail(s, &e);
		return;
	}
	words = link_last_words(s->link);
	if (c->status < 0 && (!c->failed || !ssh_is_connected(s->session)))
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': the shell was cut off%s%s",
			s->host->name, *words ? ": " : "", words);
	else if (c->failed)
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': %s",
			s->host->name, c->failed);
	else
		err_set(&e, ERR_SYSTEM, "cannot start the agent on '%s': the shell ended "
			"with status %d%s%s", s->host->name, c->status,
			*words ? ": " : "", words);
	err_hint(&e, "does `ssh %s@%s true` work?", s->to.user, s->to.host);
	sshost_fail(s, &e);
}

static const struct chan_ops control_ops = {
	.data = on_data, .words = on_words, .turn = on_turn, .end = on_end,
};

void bootstrap_begin(struct sshost *s)
{
	AUTO_FREE char *system = agent_system();
	AUTO_FREE char *tail = NULL;
	size_t size, packed;
	uint8_t raw[16];

	link_agent_blob(&size);
	link_agent_packed(&packed);
	io_random(raw, sizeof(raw));
	io_hex(raw, sizeof(raw), s->nonce);
	tail = mem_printf("sh -c '%s' drover %s %zu %s '%s' %zu", script, s->nonce, size,
			  link_agent_build(), system, packed);
	s->control = chan_new(s, tail, &control_ops, s);
}
