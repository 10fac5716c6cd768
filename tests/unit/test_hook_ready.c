/* SPDX-License-Identifier: Apache-2.0
 * Ready-made checks, and the HTTP that they and all others speak.
 */
#include "tests/unit/hookrig.h"

#include "engine/hook/child.h"
#include "engine/hook/http.h"

#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct hookrig *ready_made(const char *use, json_t *with)
{
	struct hookrig *r = hookrig_new("");

	json_object_del(jget(r->call.input, "args"), "file");
	hookrig_args(r, "use", json_string(use));
	hookrig_args(r, "with", with);
	return r;
}

static void check_ready(struct hookrig *r, const char *want)
{
	hookrig_run(r);
	assert_string_equal(jbool(r->result, "ok", false) ? jstr(r->result, "volatile.message", "") :
			    jstr(r->result, "error.text", ""), want);
	hookrig_free(r);
}

static void the_ready_made_checks_judge_what_hosts_answer(void **state)
{
	struct hookrig *r;

	(void)state;
	r = ready_made("port", json_pack("{s:i}", "port", 443));
	jset(r->answers, "call.connect", json_pack("{s:b}", "open", 1));
	check_ready(r, "port 443 of 127.0.0.1 is open");
	r = ready_made("port", json_pack("{s:i}", "port", 443));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 0, "error", "Connection refused"));
	check_ready(r, "port 443 of 127.0.0.1 is not open: Connection refused");
	check_ready(ready_made("port", json_object()),
		    "with.port is missing: the TCP port that must be open");
	r = ready_made("service", json_pack("{s:s}", "name", "nginx"));
	jset(r->answers, "call.exec", json_pack("{s:i,s:s}", "status", 3, "out", "inactive\n"));
	check_ready(r, "service nginx is inactive");
	r = ready_made("same-file", json_pack("{s:s}", "path", "/etc/hosts"));
	jset(r->answers, "call.read", json_pack("{s:s}", "text", "one"));
	check_ready(r, "/etc/hosts is the same, 3 bytes");
	r = ready_made("ports-same", json_object());
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 0, "error", "refused"));
	check_ready(r, "127.0.0.1: listened before, closed now: 22, 80");
	r = ready_made("http", json_pack("{s:s,s:s}", "url", "http://10.1.0.5/", "pattern", "login"));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 1, "banner",
		"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n<h1>login</h1>"));
	check_ready(r, "http://10.1.0.5/ answers 200");
	r = ready_made("http", json_pack("{s:s}", "url", "http://10.1.0.5/"));
	jset(r->answers, "call.connect", json_pack("{s:b,s:s}", "open", 1, "banner",
		"HTTP/1.1 503 Service Unavailable\r\n\r\n"));
	check_ready(r, "http://10.1.0.5/ answers 503 Service Unavailable, not 200");
}

static void http_requests_are_written_whole(void **state)
{
	char *why = NULL;
	AUTO_JSON *a = http_request("http://[::1]:8080?q=1#top", "erp.example.net", &why);

	(void)state;
	assert_null(why);
	assert_string_equal(jstr(a, "host", ""), "::1");
	assert_int_equal(jint(a, "port", 0), 8080);
	assert_string_equal(jstr(a, "send", ""), "GET /?q=1 HTTP/1.0\r\nHost: erp.example.net\r\n"
			    "User-Agent: drover\r\nAccept: */*\r\nConnection: close\r\n\r\n");
}

static void answers_that_are_no_http_are_refused(void **state)
{
	static const char *const rows[] = { "HTTP/1.1200", "HTTP/1.1\n200", "HTTP/1.",
		"HTTP/1.1 ", "HTTP/1.1 20", "ICY 200 OK", "HTTP/2 200" };

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		json_t *connected = json_pack("{s:b, s:{s:b, s:s}}", "ok", 1, "result", "open", 1,
					      "banner", rows[i]);
		AUTO_JSON *a = http_answer("http://10.0.0.1/", connected);

		assert_false(jbool(a, "ok", true));
		assert_string_equal(jstr(a, "error", ""),
				    "cannot ask 'http://10.0.0.1/': the answer is not HTTP");
	}
}

/* A server that answers one request and ends. */
static pid_t serve_once(const char *answer, int *port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int s = socket(AF_INET, SOCK_STREAM, 0), c;
	socklen_t n = sizeof(in);
	char buf[4096];
	pid_t pid;

	assert_int_equal(bind(s, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(s, 1), 0);
	getsockname(s, (struct sockaddr *)&in, &n);
	*port = ntohs(in.sin_port);
	pid = fork();
	if (pid == 0) {
		c = accept(s, NULL, NULL);
		if (read(c, buf, sizeof(buf)) > 0 && write(c, answer, strlen(answer)) < 0)
			_exit(1);
		_exit(0);
	}
	close(s);
	return pid;
}

static void http_is_asked_from_beside_the_engine(void **state)
{
	static const char lua[] =
		"local a = assert(drover.http(drover.with.url, {at='here'}))\n"
		"drover.ok(a.status .. ' ' .. a.reason .. ' ' .. a.headers['x-test'] .. ' ' .. a.body)\n";
	struct hookrig *r = hookrig_new(lua);
	int port, status;
	pid_t pid = serve_once("HTTP/1.1 404 Not Here\r\nX-Test: yes\r\nContent-Length: 3\r\n\r\nabc", &port);

	(void)state;
	hookrig_args(r, "with", json_pack("{s:o}", "url", json_sprintf("http://localhost:%d/", port)));
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "volatile.message", jstr(r->result, "error.text", "")),
			    "404 Not Here yes abc");
	waitpid(pid, &status, 0);
	hookrig_free(r);

	r = hookrig_new("local a, why = drover.http('https://127.0.0.1:1/', {at='here'})\ndrover.fail(why)");
	hookrig_run(r);
	assert_string_equal(jstr(r->result, "error.text", ""),
			    "cannot ask 'https://127.0.0.1:1/': Couldn't connect to server");
	hookrig_free(r);
}

static void urls_that_cannot_be_asked_are_refused(void **state)
{
	static const char *const rows[][2] = {
		{ "https://10.1.0.5/", "cannot ask 'https://10.1.0.5/': https is only supported "
		  "from beside the engine; give {at = \"here\"}" },
		{ "http://erp/", "cannot ask 'http://erp/': hosts resolve no names; give the address, "
		  "and the name as {host = \"erp\"}" },
		{ "http://10.1.0.5/a\r\nX: y", "cannot ask 'http://10.1.0.5/a\r\nX: y': it has blanks "
		  "or control characters" },
		{ "ftp", "cannot ask 'ftp': it is no URL" },
		{ "http://10.1.0.5:80a/", "cannot ask 'http://10.1.0.5:80a/': the port is wrong" },
		{ "http://10.1.0.5:4294967376",
		  "cannot ask 'http://10.1.0.5:4294967376': the port is wrong" },
		{ "http://10.1.0.5:0/", "cannot ask 'http://10.1.0.5:0/': the port is wrong" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		char *why = NULL;

		assert_null(http_request(rows[i][0], NULL, &why));
		assert_string_equal(why, rows[i][1]);
		free(why);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_ready_made_checks_judge_what_hosts_answer),
		cmocka_unit_test(http_requests_are_written_whole),
		cmocka_unit_test(answers_that_are_no_http_are_refused),
		cmocka_unit_test(http_is_asked_from_beside_the_engine),
		cmocka_unit_test(urls_that_cannot_be_asked_are_refused),
	};

	if (argc == 2 && strcmp(argv[1], HOOK_CHILD_ARG) == 0)
		return hook_child_main();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
