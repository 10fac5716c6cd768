/* SPDX-License-Identifier: Apache-2.0
 * test_snapshot_lost - a volume whose snapshot ran full before a cutover, what a preview says of
 * one, and that a mended copy is one's too. The device mapper and LVM's programs are stand-ins
 * here: these functions take the place of dm.c.
 */
#include "engine/agent/ctx.h"
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "modules/lib/dm.h"
#include "modules/lib/map.h"
#include "modules/lib/ourname.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define VG "VVVVVVVVVVVVVVVVVVVVVVVVVVVVVVVV"
#define LV "LLLLLLLLLLLLLLLLLLLLLLLLLLLLLLLL"
#define SNAP "SSSSSSSSSSSSSSSSSSSSSSSSSSSSSSSS"

/* ---- the device mapper ------------------------------------------------------------------ */

static const char *volume;	/* the path that is one; NULL: none is */
static bool full;		/* its snapshot is lost */

char *dm_uuid(const char *path)
{
	return volume && !strcmp(path, volume) ? mem_strdup("LVM-" VG LV) : NULL;
}

char *dm_node(const char *uuid)
{
	(void)uuid;
	return NULL;
}

int dm_open(struct err *e)
{
	(void)e;
	return open("/dev/null", O_RDWR | O_CLOEXEC);
}

char *dm_status(int dm, const char *uuid, struct err *e)
{
	(void)dm;
	(void)uuid;
	(void)e;
	return mem_strdup(full ? "Invalid" : "16/32768 16");
}

bool dm_fill_of(const char *status, struct dm_fill *f)
{
	*f = (struct dm_fill){ 16, 32768 };
	return status && strcmp(status, "Invalid") != 0;
}

/* ---- LVM -------------------------------------------------------------------------------- */

static void tool(const char *dir, const char *name, const char *text)
{
	AUTO_FREE char *path = mem_printf("%s/bin/%s", dir, name);

	assert_int_equal(io_write_file(AT_FDCWD, path, text, strlen(text), 0700), 0);
}

/* A volume, and a snapshot of ours, which says that it is of the copy with this root; NULL: of
 * another one. `room` is left in their group. */
static void rows(struct rig *r, unsigned room, const char *root)
{
	AUTO_JSON *in = cv_input(r, "source");
	struct ctx *c = ctx_new(-1, 1, in, NULL);
	AUTO_FREE char *tag = ourname(c), *text = NULL;
	AUTO_FREE char *another = mem_printf("%064d", 1);
	char hex[SHA256_HEX];

	ctx_free(c);
	sha256_hex("root", 4, hex);
	text = mem_printf("#!/bin/sh\ncat <<'END'\n{\"report\": [{\"lv\": ["
		"{\"vg_name\":\"vg\",\"vg_uuid\":\"" VG "\",\"vg_free\":\"%u\",\"vg_extent_size\":"
		"\"4194304\",\"lv_name\":\"lv\",\"lv_uuid\":\"" LV "\",\"lv_size\":\"%u\","
		"\"lv_layout\":\"linear\",\"lv_tags\":\"\",\"origin\":\"\"},"
		"{\"vg_name\":\"vg\",\"vg_uuid\":\"" VG "\",\"vg_free\":\"%u\",\"vg_extent_size\":"
		"\"4194304\",\"lv_name\":\"%s-%.8s-1\",\"lv_uuid\":\"" SNAP "\",\"lv_size\":\"%u\","
		"\"lv_layout\":\"linear\",\"lv_tags\":\"%s,drover-root-%s\",\"origin\":\"lv\"}"
		"]}]}\nEND\n", room, SIZE, room, tag, hex, SIZE, tag, root ? root : another);
	tool(r->dir, "lvs", text);
}

static int set_up(void **state)
{
	static char path[4096];

	if (cv_set_up(state) < 0)
		return -1;
	struct rig *r = *state;
	AUTO_FREE char *bin = mem_printf("%s/bin", r->dir);

	snprintf(path, sizeof(path), "%s", getenv("PATH"));
	AUTO_FREE char *with = mem_printf("%s:%s", bin, path);

	assert_int_equal(mkdir(bin, 0700), 0);
	rows(r, 0, NULL);
	tool(r->dir, "lvchange", "#!/bin/sh\n");
	setenv("PATH", with, 1);
	volume = r->src;
	full = false;
	return 0;
}

static int tear_down(void **state)
{
	const struct rig *r = *state;
	AUTO_FREE char *path = mem_strdup(getenv("PATH") + strlen(r->dir) + strlen("/bin:"));

	setenv("PATH", path, 1);
	volume = NULL;
	return cv_tear_down(state);
}

/* ---- before a cutover ------------------------------------------------------------------- */

/* The first finding and the first change of the last pass's probe. */
static char *look(struct rig *r)
{
	AUTO_JSON *out = cv_at(r, "source", "cutover.pass", "probe");
	const json_t *f = json_array_get(jget(out, "findings"), 0);
	const json_t *line = json_array_get(jget(out, "changes"), 0);

	assert_true(jbool(out, "ok", false));
	return mem_printf("%s %s: %s | %s", jstr(f, "severity", ""), jstr(f, "code", ""),
			  jstr(f, "text", ""), jstr(line, "text", ""));
}

static void a_snapshot_that_ran_full_is_in_the_way_of_a_cutover(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *whole = NULL, *lost = NULL;

	cv_do_both(r, "convert.disks");
	whole = look(r);
	assert_string_equal(whole, " :  | root: a snapshot of LVM notes its writes; a pass reads what "
			    "was written");
	full = true;
	lost = look(r);
	assert_string_equal(lost, "blocker pass.whole: the last pass would read all of disk 'root' "
			    "while nobody is served: its snapshot is of no use: it ran full | root: "
			    "the next pass reads all of it and compares digests: its snapshot is of "
			    "no use: it ran full");
}

/* Taken away by somebody: what it was for is known by what the copy's last pass told. */
static void one_that_is_gone_is_in_the_way_too(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *gone = NULL;

	cv_do_both_told(r, "convert.disks");
	assert_string_equal(jstr(r->facts, "warm.followed.root", ""), "snapshot");
	AUTO_FREE char *before = look(r);

	assert_string_equal(before, " :  | root: a snapshot of LVM notes its writes; a pass reads "
			    "what was written");
	tool(r->dir, "lvs", "#!/bin/sh\necho '{\"report\": [{\"lv\": []}]}'\n");
	gone = look(r);
	assert_string_equal(gone, "blocker pass.whole: the last pass would read all of disk 'root' "
			    "while nobody is served: its snapshot is gone | root: the next pass reads "
			    "all of it and compares digests: LVM does not know it");
}

/* Of what nothing followed there is nothing to be lost. */
static void a_disk_that_nothing_followed_is_compared(void **state)
{
	struct rig *r = *state;
	AUTO_FREE char *said = NULL;

	volume = NULL;
	cv_do_both_told(r, "convert.disks");
	assert_true(json_is_null(jget(r->facts, "warm.followed.root")));
	said = look(r);
	assert_string_equal(said, " :  | root: the next pass reads all of it and compares digests: it is "
			    "no block device");
}

static void one_that_runs_full_once_the_source_is_stopped_ends_the_last_pass(void **state)
{
	struct rig *r = *state;
	AUTO_JSON *source = NULL, *target = NULL;

	cv_do_both(r, "convert.disks");
	full = true;
	cv_fill(r->src, 3 * MIB, MIB, 7);
	target = cv_both(r, "cutover.pass", &source);
	assert_false(jbool(target, "ok", true));
	assert_string_equal(jstr(source, "error.text", ""), "the last pass would read all of disk "
			    "'root' while nobody is served: its snapshot is of no use: it ran full");
}

/* ---- before a copy ------------------------------------------------------------------------ */

#define NO_ROOM "root: read while it is written to: volume group 'vg' has no room for another " \
	"snapshot of it, of 8.0 MiB at least\n"
#define SNAPPED "root: read at one instant, a snapshot that LVM keeps in volume group 'vg' for the " \
	"pass\n"
#define NOTED "root: a snapshot of LVM notes its writes; a pass reads what was written\n"

static void assert_previewed(struct rig *r, const char *want)
{
	AUTO_JSON *out = cv_at(r, "source", "convert.disks", "probe");
	AUTO_FREE char *is = cv_lines(out);

	assert_string_equal(is, want);
}

static void free_blocks_of_a_volume_in_use_are_left_out_where_a_snapshot_has_room(void **state)
{
	struct rig *r = *state;
	AUTO_FD held = cv_hold(r);

	assert_true(held >= 0);
	assert_previewed(r, "root: free blocks are read too: the disk is in use\n" NO_ROOM
			 NOTED);
	rows(r, 256 * MIB, NULL);
	assert_previewed(r, "root: free blocks are counted: only the snapshot will show which they "
			 "are\n" SNAPPED NOTED);
	jset_str(r->args, "free", "copy");
	assert_previewed(r, SNAPPED NOTED);
}

/* ---- a mend ------------------------------------------------------------------------------ */

/* Of a chunk that was written since; what LVM was told then. Owned. */
static char *mend(struct rig *r, const char *root)
{
	AUTO_FREE char *told = mem_printf("%s/told", r->dir);
	AUTO_FREE char *note = mem_printf("#!/bin/sh\necho \"$*\" >>%s\n", told);
	const uint64_t chunk = 3;
	AUTO_JSON *out = NULL;
	struct map *m = map_open(r->map, true, NULL);

	rows(r, 0, root);
	tool(r->dir, "lvchange", note);
	cv_fill(r->src, chunk * MIB, MIB, 7);
	assert_int_equal(map_drop(m, &chunk, 1, NULL), 0);
	map_close(m);
	out = cv_both_do(r, "convert.disks", "mend", NULL);
	assert_true(jbool(out, "ok", false));
	return io_read_file(AT_FDCWD, told, 4096, NULL);
}

/* It has all that was written since the copy before, so it says that it is of the mended one. */
static void a_snapshot_is_of_the_mended_copy_too(void **state)
{
	struct rig *r = *state;
	struct map_state s;
	char now[SHA256_HEX];

	cv_do_both(r, "convert.disks");
	const char *was = jstr(r->facts, "disks.root.digest", "");
	AUTO_FREE char *told = mend(r, was), *del = mem_printf("--deltag drover-root-%s", was);
	AUTO_MAP *m = map_open(r->map, false, NULL);

	map_state(m, &s);
	io_hex(s.root, SHA256_LEN, now);
	AUTO_FREE char *add = mem_printf("--addtag drover-root-%s", now);

	assert_non_null(told);
	assert_non_null(strstr(told, add));
	assert_non_null(strstr(told, del));
}

static void a_snapshot_of_another_copy_stays_that(void **state)
{
	AUTO_FREE char *told = NULL;

	cv_do_both(*state, "convert.disks");
	told = mend(*state, NULL);
	assert_null(told);
}

int main(void)
{
#define T(f) { #f, f, set_up, tear_down, (void *)(uintptr_t)"raw" }
	const struct CMUnitTest tests[] = {
		T(a_snapshot_that_ran_full_is_in_the_way_of_a_cutover),
		T(one_that_is_gone_is_in_the_way_too),
		T(a_disk_that_nothing_followed_is_compared),
		T(one_that_runs_full_once_the_source_is_stopped_ends_the_last_pass),
		T(free_blocks_of_a_volume_in_use_are_left_out_where_a_snapshot_has_room),
		T(a_snapshot_is_of_the_mended_copy_too),
		T(a_snapshot_of_another_copy_stays_that),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
