/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Kernels and sandboxes that do not discard arrays of ranges: found out by trying at init,
 * and borne when it comes later. Played here by a seccomp filter in a child process, as a
 * filter cannot be taken off again.
 */
#include "linux/support.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE MIB
#define ALLOWED 0x7fffffffU
#define COUNT 20

/* Let process_madvise() do nothing but answer @error, 0 meaning success. */
static bool forbid(uint32_t error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_process_madvise, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = ARRAY_LEN(code), .filter = code};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* How the child ended. */
enum outcome { FREED, NOT_FREED, WRONG_CALLS, FAILED, NO_FILTER };

static struct vmemdev_linux_memory *memory_with_ram(uint8_t **host)
{
	struct vmemdev_linux_ram_config config = ram_config(VMEMDEV_LINUX_ANONYMOUS, SIZE);
	void *state;

	if (setup_memory(&state) != 0 || vmemdev_linux_add_ram(state, &config) != 0)
		_exit(FAILED);
	*host = vmemdev_linux_region(state, RAM_GPA)->host;
	memset(*host, 1, SIZE);
	return state;
}

static enum outcome child(uint32_t before, uint32_t after, uint64_t vectors)
{
	struct vmemdev_range ranges[COUNT];
	struct vmemdev_linux_memory *memory;
	struct vmemdev_linux_counts did;
	uint8_t *host;

	if (before != ALLOWED && !forbid(before))
		return NO_FILTER;
	memory = memory_with_ram(&host);
	if (after != ALLOWED && !forbid(after))
		return NO_FILTER;
	for (uint32_t i = 0; i < COUNT; i++)
		ranges[i] = pages(3 * (uint64_t)i, 1);
	if (vmemdev_linux_discard(memory, ranges, COUNT) != 0)
		return FAILED;
	vmemdev_linux_memory_get_counts(memory, &did);
	if (resident(host, SIZE) != SIZE - COUNT * page_size() ||
	    did.bytes != COUNT * page_size())
		return NOT_FREED;
	return did.process_madvise == vectors && did.madvise == COUNT ? FREED : WRONG_CALLS;
}

/* The filter answers @before from before init on, and @after once memory is there. */
static void frees_all_the_same(uint32_t before, uint32_t after, uint64_t vectors)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit((int)child(before, after, vectors));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == NO_FILTER) {
		print_message("skipped: seccomp filters cannot be set here\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), FREED);
}

static void a_kernel_without_it_is_found_at_init(void **state)
{
	(void)state;
	frees_all_the_same(ENOSYS, ALLOWED, 0);
	frees_all_the_same(EPERM, ALLOWED, 0);
}

/* What counts is the effect on the page, not the answer. */
static void a_lie_is_found_at_init(void **state)
{
	(void)state;
	frees_all_the_same(0, ALLOWED, 0);
}

/* VMMs put themselves into a sandbox when everything is set up. */
static void a_sandbox_that_comes_later_is_borne(void **state)
{
	(void)state;
	frees_all_the_same(ALLOWED, EPERM, kernel_vectors() ? 1 : 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_kernel_without_it_is_found_at_init),
		cmocka_unit_test(a_lie_is_found_at_init),
		cmocka_unit_test(a_sandbox_that_comes_later_is_borne),
	};

	return RUN(tests);
}
