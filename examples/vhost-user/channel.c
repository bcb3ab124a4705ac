// SPDX-License-Identifier: BSD-3-Clause
/*
 * Messages with file descriptors on a socket, and the descriptors that stand for doorbells and
 * interrupts. Nothing here waits for the other side: it may stop reading or writing whenever it
 * likes, also in the middle of a message.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <unistd.h>

#include "daemon.h"

/* ---- messages ---- */

static size_t bytes_missing(const struct channel *channel)
{
	size_t whole = sizeof(struct header);

	if (channel->have >= whole)
		whole += channel->message.header.size;
	return whole - channel->have;
}

static uint8_t *place_for_more(struct channel *channel)
{
	if (channel->have < sizeof(struct header))
		return (uint8_t *)&channel->message.header + channel->have;
	return channel->message.payload + (channel->have - sizeof(struct header));
}

/* Keeps the file descriptors that came along. returns: false if there were too many */
static bool keep_fds(struct message *message, struct msghdr *received)
{
	bool fits = !(received->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(received); c; c = CMSG_NXTHDR(received, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (message->fd_count < FDS_MAX) {
				message->fds[message->fd_count++] = fd;
			} else {
				fits = false;
				close(fd);
			}
		}
	}
	return fits;
}

static const char *check_header(const struct header *header)
{
	if ((header->flags & FLAG_VERSION_MASK) != FLAG_VERSION)
		return "a message of another protocol version than 1";
	if (header->size > PAYLOAD_MAX)
		return "a message longer than any that is expected";
	return NULL;
}

int channel_receive(struct channel *channel, const char **why)
{
	_Alignas(struct cmsghdr) char room[CMSG_SPACE(FDS_MAX * sizeof(int))];
	struct message *message = &channel->message;
	struct iovec piece = { place_for_more(channel), bytes_missing(channel) };
	struct msghdr received = {
		.msg_iov = &piece,
		.msg_iovlen = 1,
		.msg_control = room,
		.msg_controllen = sizeof(room),
	};
	ssize_t got = recvmsg(channel->watch.fd, &received, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (got <= 0) {
		/* A reset is what remains of a peer that died with answers unread. */
		if (got < 0 && errno != ECONNRESET)
			*why = strerror(errno);
		else
			*why = channel->have ? "it ended in the middle of a message" : "";
		return -1;
	}
	channel->have += (size_t)got;
	if (!keep_fds(message, &received)) {
		*why = "a message with more than 8 file descriptors";
		return -1;
	}
	if (channel->have == sizeof(struct header)) {
		*why = check_header(&message->header);
		if (*why)
			return -1;
	}
	return channel->have >= sizeof(struct header) && bytes_missing(channel) == 0;
}

void channel_next(struct channel *channel)
{
	struct message *message = &channel->message;

	for (unsigned i = 0; i < message->fd_count; i++) {
		if (message->fds[i] >= 0)
			close(message->fds[i]);
	}
	memset(message, 0, sizeof(*message));
	channel->have = 0;
}

int message_take_fd(struct message *message)
{
	int fd = message->fds[0];

	message->fds[0] = -1;
	return fd;
}

int channel_send(int fd, uint32_t request, uint32_t flags, const void *payload, uint32_t size)
{
	struct header header = { request, FLAG_VERSION | flags, size };
	uint8_t bytes[sizeof(header) + PAYLOAD_MAX];
	size_t len = sizeof(header) + size;
	ssize_t sent;

	memcpy(bytes, &header, sizeof(header));
	if (size > 0)
		memcpy(bytes + sizeof(header), payload, size);
	sent = send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent >= 0 && sent != (ssize_t)len)
		errno = EAGAIN;
	return sent == (ssize_t)len ? 0 : -1;
}

/* ---- doorbells and interrupts ---- */

/*
 * Whether a read or write of these waits is a property of the open file, which the front end
 * shares and may change at any moment. So a timer interrupts those that do; it goes on ticking,
 * as the first tick may come before the call has begun to wait.
 */
static void limit_waiting(bool on)
{
	const struct itimerval tick = {
		.it_interval.tv_usec = on ? 20000 : 0,
		.it_value.tv_usec = on ? 20000 : 0,
	};

	setitimer(ITIMER_REAL, &tick, NULL);
}

int event_signal(int fd)
{
	const uint64_t one = 1;
	ssize_t done = send(fd, &one, sizeof(one), MSG_DONTWAIT | MSG_NOSIGNAL);

	if (done < 0 && errno == ENOTSOCK) {
		limit_waiting(true);
		done = write(fd, &one, sizeof(one));
		limit_waiting(false);
	}
	return done == sizeof(one) ? 0 : -1;
}

bool event_drain(int fd)
{
	uint8_t bytes[512]; /* an eventfd gives 8; others, as many as there are */
	ssize_t got = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got < 0 && errno == ENOTSOCK) {
		limit_waiting(true);
		got = read(fd, bytes, sizeof(bytes));
		limit_waiting(false);
	}
	return got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR));
}
