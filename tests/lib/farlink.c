/* SPDX-License-Identifier: Apache-2.0
 * farlink - a link between two network namespaces on which everything takes its time: a
 * process that carries packets from a tun device in the one to a tun device in the other, each
 * so many milliseconds late. What the kernel's netem would do.
 *
 *   farlink NETNS-A ADDRESS-A NETNS-B ADDRESS-B MILLISECONDS-EACH-WAY [LOSES [FILE KIB]]
 *
 * The addresses are IPv4, point to point; the devices are called far0. Every LOSES-th packet
 * of either way is lost. Once FILE holds KIB on disk, one full packet from A is damaged in such
 * a way that no checksum of IP or TCP tells. Prints "ready", and "damaged".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MTU 9000
#define SLOTS 16384		/* packets under way; beyond them they are lost */
#define FULL 1400		/* bytes of a packet that carries data */

struct packet { uint64_t due; uint16_t len; uint8_t bytes[MTU]; };
struct way { int from, to; struct packet *ring; size_t first, count; unsigned seen; bool harmful; };

static void check(int rc, const char *what)
{
	if (rc < 0) {
		perror(what);
		exit(1);
	}
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void set_address(int s, struct ifreq *r, unsigned long what, const char *address)
{
	struct sockaddr_in *in = (struct sockaddr_in *)&r->ifr_addr;

	*in = (struct sockaddr_in){ .sin_family = AF_INET };
	inet_pton(AF_INET, address, &in->sin_addr);
	check(ioctl(s, what, r), "address");
}

/* A tun device in a namespace, up. */
static int open_tun(const char *netns, const char *address, const char *peer)
{
	struct ifreq r = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	char path[256];
	int ns, fd, s;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	check(ns, path);
	check(setns(ns, CLONE_NEWNET), "setns");
	close(ns);
	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	check(fd, "/dev/net/tun");
	strcpy(r.ifr_name, "far0");
	check(ioctl(fd, TUNSETIFF, &r), "TUNSETIFF");
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	set_address(s, &r, SIOCSIFADDR, address);
	set_address(s, &r, SIOCSIFDSTADDR, peer);
	r.ifr_mtu = MTU;
	check(ioctl(s, SIOCSIFMTU, &r), "mtu");
	r.ifr_flags = IFF_UP | IFF_RUNNING | IFF_POINTOPOINT;
	check(ioctl(s, SIOCSIFFLAGS, &r), "up");
	close(s);
	return fd;
}

/* One packet is damaged; NULL: none any more. */
static struct damage { const char *file; uint64_t kib; } *damage;

/* Two unequal words change places: the sum of all stays what it was. */
static void harm(struct packet *p)
{
	struct stat st;

	if (p->len < FULL || stat(damage->file, &st) < 0 ||
	    (uint64_t)st.st_blocks * 512 < damage->kib * 1024)
		return;
	for (int at = (p->len & ~1) - 4; at > FULL / 2; at -= 2) {
		uint8_t *w = p->bytes + at, was[2] = { w[0], w[1] };

		if (memcmp(w, w + 2, 2) != 0) {
			memcpy(w, w + 2, 2);
			memcpy(w + 2, was, 2);
			damage = NULL;
			printf("damaged\n");
			fflush(stdout);
			return;
		}
	}
}

static void take(struct way *w, uint64_t late, unsigned loses)
{
	struct packet lost, *p;
	ssize_t n;

	do {
		p = loses && w->seen % loses == loses - 1 ? &lost : w->count < SLOTS ? &w->ring[(w->first + w->count) % SLOTS] : &lost;
		n = read(w->from, p->bytes, MTU);
		w->seen += n > 0;
		if (n > 0 && p != &lost) {
			p->len = (uint16_t)n;
			p->due = now_us() + late;
			w->count++;
			if (damage && w->harmful)
				harm(p);
		}
	} while (n > 0);
}

static void pass(struct way *w)
{
	while (w->count && w->ring[w->first].due <= now_us()) {
		struct packet *p = &w->ring[w->first];

		if (write(w->to, p->bytes, p->len) < 0 && errno == EAGAIN)
			return;
		w->first = (w->first + 1) % SLOTS;
		w->count--;
	}
}

int main(int argc, char **argv)
{
	uint64_t late = argc > 5 ? strtoull(argv[5], NULL, 10) * 1000 : 0;
	unsigned loses = argc > 6 ? (unsigned)strtoul(argv[6], NULL, 10) : 0;
	struct damage once = { argc > 8 ? argv[7] : NULL, argc > 8 ? strtoull(argv[8], NULL, 10) : 0 };
	struct way w[2];

	if (argc < 6) {
		fprintf(stderr, "usage: farlink NETNS ADDRESS NETNS ADDRESS MILLISECONDS [LOSES [FILE KIB]]\n");
		return 100;
	}
	damage = once.file ? &once : NULL;
	w[0] = (struct way){ .from = open_tun(argv[1], argv[2], argv[4]), .harmful = true };
	w[0].to = open_tun(argv[3], argv[4], argv[2]);
	w[1] = (struct way){ .from = w[0].to, .to = w[0].from };
	for (int i = 0; i < 2; i++)
		w[i].ring = calloc(SLOTS, sizeof(struct packet));
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct pollfd p[2] = { { w[0].from, POLLIN, 0 }, { w[1].from, POLLIN, 0 } };
		int wait = w[0].count || w[1].count ? 1 : -1;

		poll(p, 2, wait);
		for (int i = 0; i < 2; i++) {
			take(&w[i], late, loses);
			pass(&w[i]);
		}
	}
}
