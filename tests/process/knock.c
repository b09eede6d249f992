// knock USER HELD ADDRESS: connects and closes again, as fast as it can, for ever, as the user with
// that number; the last HELD connections stay open. ADDRESS is a port of 127.0.0.1 or the path of a
// unix socket. Where it cannot connect it tries again. Says a line when it has been let in a
// thousand times.
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int Become(uid_t user) {
  if (user == getuid()) return 1;
  return setgroups(0, NULL) == 0 && setgid(user) == 0 && setuid(user) == 0;
}

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  enum { kMost = 64 };
  const int held = atoi(argv[2]);
  if (held < 1 || held > kMost) return 64;
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // never longer than the test
  if (!Become((uid_t)atoi(argv[1]))) {
    perror("knock: cannot become another user");
    return 1;
  }
  const int local = argv[3][0] == '/';
  struct sockaddr_un path = {.sun_family = AF_UNIX};
  struct sockaddr_in port = {.sin_family = AF_INET};
  strncpy(path.sun_path, argv[3], sizeof(path.sun_path) - 1);
  port.sin_port = htons((uint16_t)atoi(argv[3]));
  port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const struct sockaddr* const to = local ? (struct sockaddr*)&path : (struct sockaddr*)&port;
  const socklen_t size = local ? sizeof(path) : sizeof(port);
  int open[kMost];
  for (int i = 0; i < held; ++i) open[i] = -1;
  for (int times = 0, next = 0;; next = (next + 1) % held) {
    if (open[next] >= 0) close(open[next]);
    const int fd = socket(to->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return 1;
    if (connect(fd, to, size) != 0) {
      usleep(1000);
    } else if (++times == 1000) {
      puts("it is under way");
      fflush(stdout);
    }
    open[next] = fd;
  }
}
