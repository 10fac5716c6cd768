/* SPDX-License-Identifier: Apache-2.0
 * test_snapshot - the store of a dm-snapshot, as the kernel writes it and as it should not be;
 * how long a snapshot is made; whose one is.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/dm.h"
#include "modules/lib/lvm.h"
#include "modules/lib/snapcow.h"
#include "modules/lib/snapshot_priv.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define CHUNK (4 * KIB)
#define PER_AREA (CHUNK / 16)
#define CHUNKS 1000u		/* of the store: three areas */
#define VOLUME (64 * MIB + 512)	/* no multiple of a chunk */

/* ---- a store in memory ---------------------------------------------------------------- */

struct store {
	struct disk d;
	uint8_t *p;		/* owned */
	uint64_t bad;		/* a read that touches this byte fails; 0: none does */
	unsigned reads, spoil;	/* before this one it is marked invalid; 0: never */
};

static void put32(struct store *s, uint64_t at, uint32_t v)
{
	v = htole32(v);
	memcpy(s->p + at, &v, sizeof(v));
}

static void put64(struct store *s, uint64_t at, uint64_t v)
{
	v = htole64(v);
	memcpy(s->p + at, &v, sizeof(v));
}

static int s_read(struct disk *d, void *buf, size_t n, uint64_t at, struct err *e)
{
	struct store *s = (struct store *)d;

	assert_true(at + n <= d->size);
	if (s->bad && at <= s->bad && at + n > s->bad) {
		errno = EIO;
		return err_sys(e, "cannot read");
	}
	if (s->spoil && ++s->reads == s->spoil)
		put32(s, 4, 0);
	memcpy(buf, s->p + at, n);
	return 0;
}

static const struct disk_ops ops = { .read = s_read };

static int set_up(void **state)
{
	struct store *s = mem_alloc(sizeof(*s));

	s->d = (struct disk){ .ops = &ops, .size = CHUNKS * CHUNK, .path = mem_strdup("cow") };
	s->p = mem_alloc(s->d.size);
	put32(s, 0, 0x70416e53);
	put32(s, 4, 1);
	put32(s, 8, 1);
	put32(s, 12, CHUNK / 512);
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct store *s = *state;

	free(s->d.path);
	free(s->p);
	free(s);
	return 0;
}

/* Where the kernel puts entry i. */
static uint64_t entry_at(uint64_t i)
{
	return (1 + i / PER_AREA * (PER_AREA + 1)) * CHUNK + i % PER_AREA * 16;
}

/* Entry i: this chunk of the volume was overwritten; where it was kept is right. */
static void note(struct store *s, uint64_t i, uint64_t chunk)
{
	put64(s, entry_at(i), chunk);
	put64(s, entry_at(i) + 8, 2 + i + i / PER_AREA);
}

static void assert_refused(struct store *s, const char *why)
{
	AUTO_CHANGES t = { 0 };
	AUTO_ERR e = { 0 };

	assert_int_equal(snapcow_read(&s->d, VOLUME, &t, &e), -1);
	assert_non_null(strstr(e.what, why));
	assert_null(t.bits);
}

/* ---- the list ------------------------------------------------------------------------- */

static void a_new_snapshot_lists_nothing(void **state)
{
	struct store *s = *state;
	AUTO_CHANGES t = { 0 };
	AUTO_ERR e = { 0 };

	assert_int_equal(snapcow_read(&s->d, VOLUME, &t, &e), 0);
	assert_int_equal(t.bytes, 0);
	assert_false(track_changed(&t, 0, VOLUME));
}

static void what_was_overwritten_is_listed_and_nothing_else(void **state)
{
	struct store *s = *state;
	AUTO_CHANGES t = { 0 };
	AUTO_ERR e = { 0 };

	note(s, 0, 5 * MIB / CHUNK);
	note(s, 1, 40 * MIB / CHUNK + 3);
	note(s, 2, VOLUME / CHUNK);	/* the last, which is short */
	assert_int_equal(snapcow_read(&s->d, VOLUME, &t, &e), 0);
	assert_true(track_changed(&t, 5 * MIB, CHUNK));
	assert_true(track_changed(&t, 40 * MIB + 3 * CHUNK, CHUNK));
	assert_true(track_changed(&t, 64 * MIB, 512));
	assert_false(track_changed(&t, 6 * MIB, 34 * MIB));
	assert_false(track_changed(&t, 0, 5 * MIB));
	assert_int_equal(t.bytes, 3 * t.granule);
}

static void a_list_goes_on_in_the_next_area(void **state)
{
	struct store *s = *state;
	AUTO_CHANGES t = { 0 };
	AUTO_ERR e = { 0 };

	for (uint64_t i = 0; i < 2 * PER_AREA + 7; i++)
		note(s, i, i * 16);	/* one in each 64 KiB */
	assert_int_equal(snapcow_read(&s->d, VOLUME, &t, &e), 0);
	for (uint64_t i = 0; i < 2 * PER_AREA + 7; i++)
		assert_true(track_changed(&t, i * 64 * KIB, CHUNK));
	assert_false(track_changed(&t, (2 * PER_AREA + 7) * 64 * KIB, MIB));
}

/* The kernel makes the next area empty before it fills the last place of one. */
static void an_area_that_is_just_full_has_an_empty_one_behind_it(void **state)
{
	struct store *s = *state;
	AUTO_CHANGES t = { 0 };
	AUTO_ERR e = { 0 };

	for (uint64_t i = 0; i < PER_AREA; i++)
		note(s, i, i);
	assert_int_equal(snapcow_read(&s->d, VOLUME, &t, &e), 0);
	assert_true(track_changed(&t, (PER_AREA - 1) * CHUNK, 1));
}

/* ---- what is not to be believed ----------------------------------------------------------- */

static void one_that_ran_full_is_of_no_use(void **state)
{
	put32(*state, 4, 0);
	assert_refused(*state, "it ran full");
}

static void one_that_runs_full_while_it_is_read_is_of_no_use(void **state)
{
	struct store *s = *state;

	note(s, 0, 1);
	s->spoil = 3;		/* header, area, header */
	assert_refused(s, "it ran full");
}

static void what_is_no_such_store_is_refused(void **state)
{
	static const struct { uint64_t at; uint32_t v; } wrong[] = {
		{ 0, 0 }, { 8, 2 }, { 12, 0 }, { 12, 1 }, { 12, 12 }, { 12, 4096 },
		{ 12, UINT32_MAX },
	};
	struct store *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		uint32_t was;

		memcpy(&was, s->p + wrong[i].at, sizeof(was));
		put32(s, wrong[i].at, wrong[i].v);
		assert_refused(s, "its store 'cow' is damaged");
		memcpy(s->p + wrong[i].at, &was, sizeof(was));
	}
	s->d.size = 512;
	assert_refused(s, "too short");
}

static void an_entry_that_leads_nowhere_is_refused(void **state)
{
	static const struct { uint64_t old, at; } wrong[] = {
		{ VOLUME / CHUNK + 1, 2 },	/* behind the volume's end */
		{ UINT64_MAX, 2 },
		{ 1, CHUNKS },			/* behind the store's */
		{ 1, UINT64_MAX },
		{ 1, 1 },			/* the list itself */
		{ 1, 1 + PER_AREA + 1 },
	};
	struct store *s = *state;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		put64(s, entry_at(0), wrong[i].old);
		put64(s, entry_at(0) + 8, wrong[i].at);
		assert_refused(s, "an entry leads nowhere");
	}
}

static void a_list_that_is_cut_off_is_refused(void **state)
{
	struct store *s = *state;

	for (uint64_t i = 0; i < PER_AREA; i++)
		note(s, i, i);
	s->d.size = (1 + PER_AREA + 1) * CHUNK;		/* the next area is not there */
	assert_refused(s, "it ends amid its list");
	s->d.size = CHUNK;
	assert_refused(s, "it ends amid its list");
}

static void a_store_that_cannot_be_read_is_of_no_use(void **state)
{
	struct store *s = *state;

	s->bad = CHUNK + 100;
	assert_refused(s, "cannot read");
}

/* ---- how long, and whose -------------------------------------------------------------------- */

static void a_snapshot_gets_a_tenth_and_less_where_there_is_less(void **state)
{
	const uint64_t extent = 4 * MIB;

	(void)state;
	assert_int_equal(snapshot_size(40 * GIB, 100 * GIB, extent), 4 * GIB);
	assert_int_equal(snapshot_size(1 * GIB, 100 * GIB, extent), 256 * MIB);
	/* no more than it can take */
	assert_int_equal(snapshot_size(128 * MIB, 100 * GIB, extent), 132 * MIB);
	/* what is there, whole extents */
	assert_int_equal(snapshot_size(40 * GIB, 2 * GIB - 1, extent), 2 * GIB - extent);
	/* down to a fiftieth */
	assert_int_equal(snapshot_size(50 * GIB, 1 * GIB, extent), 1 * GIB);
	assert_int_equal(snapshot_size(50 * GIB, 1 * GIB - 1, extent), 0);
	assert_int_equal(snapshot_least(50 * GIB, extent), 1 * GIB);
	assert_int_equal(snapshot_size(128 * MIB, 8 * MIB, extent), 8 * MIB);
	assert_int_equal(snapshot_size(128 * MIB, 8 * MIB - 1, extent), 0);
	assert_int_equal(snapshot_size(GIB, 0, extent), 0);
	assert_int_equal(snapshot_size(GIB, GIB, 0), 0);	/* LVM says nothing */
}

static json_t *row(const char *vg, const char *name, const char *origin, const char *tags)
{
	json_t *j = json_object();

	jset_str(j, "vg_name", vg);
	jset_str(j, "vg_uuid", "aaaaaa-bbbb-cccc-dddd-eeee-ffff-gggggg");
	jset_str(j, "lv_name", name);
	jset_str(j, "lv_uuid", "hhhhhh-iiii-jjjj-kkkk-llll-mmmm-nnnnnn");
	jset_str(j, "origin", origin);
	jset_str(j, "lv_tags", tags);
	return j;
}

static void a_snapshot_is_ours_by_tag_name_and_origin(void **state)
{
	const char *tag = "drover-0123456789abcdef";
	char hex[SHA256_HEX];
	AUTO_FREE char *name = NULL, *uuid = NULL;

	(void)state;
	sha256_hex("data", 4, hex);
	name = mem_printf("%s-%.8s-12", tag, hex);

	AUTO_JSON *of = row("vg", "lv", "", ""), *ours = row("vg", name, "lv", tag);
	AUTO_JSON *untagged = row("vg", name, "lv", "drover-0123456789abcdef0");
	AUTO_JSON *another = row("vg", name, "lv2", tag), *named = row("vg", "mine", "lv", tag);

	assert_true(snap_is(ours, tag, "data", of));
	assert_false(snap_is(ours, tag, "root", of));
	assert_false(snap_is(ours, "drover-1123456789abcdef", "data", of));
	assert_false(snap_is(untagged, tag, "data", of));
	assert_false(snap_is(another, tag, "data", of));
	assert_false(snap_is(named, tag, "data", of));
	assert_false(snap_is(ours, tag, "data", NULL));
	assert_int_equal(snap_number(ours), 12);
	uuid = snap_uuid(ours);
	assert_string_equal(uuid, "LVM-aaaaaabbbbccccddddeeeeffffgggggghhhhhhiiiijjjjkkkkllllmmmmnnnnnn");
}

static void a_snapshot_says_of_which_copy_it_is(void **state)
{
	AUTO_JSON *says = row("vg", "s", "lv", "a,drover-root-0badc0de,drover-1");
	AUTO_JSON *silent = row("vg", "s", "lv", "drover-1,x-drover-root-0badc0de");
	AUTO_FREE char *root = snap_root(says), *none = snap_root(silent);

	(void)state;
	assert_string_equal(root, "0badc0de");
	assert_string_equal(none, "");
}

static void a_lost_snapshot_is_told_by_its_status(void **state)
{
	struct dm_fill f;

	(void)state;
	assert_true(dm_fill_of("16/32768 16", &f));
	assert_int_equal(f.used, 16);
	assert_int_equal(f.total, 32768);
	assert_false(dm_fill_of("Invalid", &f));
	assert_false(dm_fill_of("Overflow", &f));
	assert_false(dm_fill_of("Merge failed", &f));
	assert_false(dm_fill_of("", &f));
	assert_false(dm_fill_of(NULL, &f));
}

/* ---- what must not be cut off ------------------------------------------------------------- */

static void a_change_tells_why_it_failed(void **state)
{
	const char *const argv[] = { "sh", "-c", "echo '  no room in it' >&2; exit 5", NULL };
	const char *const fine[] = { "true", NULL }, *const none[] = { "no-such-tool", NULL };
	AUTO_ERR e = { 0 }, missing = { 0 };

	(void)state;
	assert_int_equal(lvm_change("vg", fine, &e), 0);
	assert_int_equal(lvm_change("vg", argv, &e), -1);
	assert_string_equal(e.what, "cannot use volume group 'vg': sh: no room in it");
	assert_int_equal(lvm_change("vg", none, &missing), -1);
	assert_string_equal(missing.what, "cannot use volume group 'vg': 'no-such-tool' is not "
			    "installed here");
}

/* A pipe by name that both ends may open at any time. */
static int pipe_at(const char *dir, const char *name)
{
	AUTO_FREE char *path = mem_printf("%s/%s", dir, name);

	assert_int_equal(mkfifo(path, 0600), 0);
	return open(path, O_RDWR | O_CLOEXEC);
}

static void await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	assert_int_equal(poll(&p, 1, 60000), 1);
	assert_int_equal(read(fd, &c, 1), 1);
}

static void a_change_goes_on_when_its_caller_is_killed(void **state)
{
	char dir[] = "/tmp/drover-snapshot.XXXXXX";
	AUTO_FREE char *script = NULL;
	int begun, go, done;
	pid_t pid;

	(void)state;
	assert_non_null(mkdtemp(dir));
	begun = pipe_at(dir, "begun");
	go = pipe_at(dir, "go");
	done = pipe_at(dir, "done");
	script = mem_printf("cd %s && echo >begun && read x <go && echo >done", dir);

	const char *const argv[] = { "sh", "-c", script, NULL };

	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		lvm_change("vg", argv, NULL);
		_exit(0);
	}
	await(begun);
	kill(-pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(write(go, "\n", 1), 1);
	await(done);
	close(begun);
	close(go);
	close(done);
	assert_int_equal(io_remove_tree(dir), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(a_new_snapshot_lists_nothing),
		T(what_was_overwritten_is_listed_and_nothing_else),
		T(a_list_goes_on_in_the_next_area),
		T(an_area_that_is_just_full_has_an_empty_one_behind_it),
		T(one_that_ran_full_is_of_no_use),
		T(one_that_runs_full_while_it_is_read_is_of_no_use),
		T(what_is_no_such_store_is_refused),
		T(an_entry_that_leads_nowhere_is_refused),
		T(a_list_that_is_cut_off_is_refused),
		T(a_store_that_cannot_be_read_is_of_no_use),
		T(a_snapshot_gets_a_tenth_and_less_where_there_is_less),
		T(a_snapshot_is_ours_by_tag_name_and_origin),
		T(a_snapshot_says_of_which_copy_it_is),
		T(a_lost_snapshot_is_told_by_its_status),
		T(a_change_tells_why_it_failed),
		T(a_change_goes_on_when_its_caller_is_killed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
