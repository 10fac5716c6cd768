/* SPDX-License-Identifier: Apache-2.0
 * test_unheard - a proof that ended well, and whose result was lost on its way: it is told
 * again, and nothing is read for that unless the blocks may have changed.
 */
#include "engine/base/io.h"
#include "engine/base/mem.h"
#include "tests/unit/convertrig.h"
#include "tests/unit/modtest.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

/* A proof that ends well, and nobody hears of it but for what it had the engine keep. */
static json_t *unheard(struct rig *r, const char *module)
{
	AUTO_JSON *in = cv_input(r, "target"), *events = NULL;
	json_t *out = modtest_call(module, "apply", in, &events);

	assert_true(jbool(out, "ok", false));
	modtest_keep(in, events);
	return out;
}

static void assert_damaged(struct rig *r)
{
	AUTO_JSON *out = cv_at(r, "target", "validate.disks", "apply");

	assert_string_equal(jstr(out, "error.kind", ""), "damaged");
}

static void a_result_that_is_lost_costs_no_second_reading(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *lost = NULL, *said = NULL, *told = NULL;

	cv_do_both(r, "convert.disks");
	cv_put(r->base, 5 * MIB, "!", 1);
	assert_damaged(r);
	json_decref(cv_both_do(r, "convert.disks", "mend", NULL));
	lost = unheard(r, "validate.disks");
	cv_put_unseen(r->base, 5 * MIB + 1000);
	said = cv_at(r, "target", "validate.disks", "probe");
	assert_string_equal(jstr(said, "state", ""), "absent");
	assert_string_equal(jstr(json_array_get(jget(said, "changes"), 0), "text", ""),
			    "root was read back already: what that proved is recorded");
	assert_int_equal(jint(said, "cost.read", 0), 0);
	told = unheard(r, "validate.disks");
	assert_true(json_equal(jget(told, "facts"), jget(lost, "facts")));
	assert_true(json_equal(jget(told, "findings"), jget(lost, "findings")));
	assert_int_equal(json_array_size(jget(told, "findings")), 1);
	/* once it is rolled back its record is gone */
	json_object_clear(r->kept);
	assert_damaged(r);
}

static void of_a_readback_too(void **s)
{
	struct rig *r = *s;
	AUTO_JSON *lost = NULL, *told = NULL;

	cv_do_both(r, "convert.disks");
	cv_do_at(r, "target", "validate.disks", "apply");
	cv_do_both(r, "cutover.pass");
	cv_do_at(r, "target", "cutover.proof", "apply");
	lost = unheard(r, "cutover.readback");
	cv_put_unseen(r->base, 5 * MIB + 1000);
	told = unheard(r, "cutover.readback");
	assert_true(json_equal(jget(told, "facts"), jget(lost, "facts")));
}

static void a_base_that_was_written_to_since_is_read_again(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	json_decref(unheard(r, "validate.disks"));
	cv_put(r->base, 5 * MIB + 1000, "!", 1);
	assert_damaged(r);
}

static void a_copy_of_another_pass_is_read_again(void **s)
{
	struct rig *r = *s;

	cv_do_both(r, "convert.disks");
	json_decref(unheard(r, "validate.disks"));
	cv_do_both(r, "call.sync");
	cv_put_unseen(r->base, 5 * MIB + 1000);
	assert_damaged(r);
}

/* Its disks may have lost what they had said was safe. */
static void after_a_restart_of_its_host_a_copy_is_read_again(void **s)
{
	struct rig *r = *s;
	AUTO_FREE char *file = mem_printf("%s/boot", r->dir);
	const char *boot = "/proc/sys/kernel/random/boot_id";

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_int_equal(io_write_file(AT_FDCWD, file, "another\n", 8, 0600), 0);
	cv_do_both(r, "convert.disks");
	json_decref(unheard(r, "validate.disks"));
	cv_put_unseen(r->base, 5 * MIB + 1000);
	json_decref(unheard(r, "validate.disks"));
	assert_int_equal(mount(file, boot, NULL, MS_BIND, NULL), 0);
	assert_damaged(r);
	assert_int_equal(umount(boot), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		RAW(a_result_that_is_lost_costs_no_second_reading),
		QCOW2(a_result_that_is_lost_costs_no_second_reading),
		RAW(of_a_readback_too),
		RAW(a_base_that_was_written_to_since_is_read_again),
		RAW(a_copy_of_another_pass_is_read_again),
		RAW(after_a_restart_of_its_host_a_copy_is_read_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
