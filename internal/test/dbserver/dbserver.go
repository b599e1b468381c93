//go:build linux

package dbserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/venta-hq/redlock/internal/test/ports"
)

// ErrMissing is matched by the error if a server is not installed.
var ErrMissing = errors.New("is not installed")

// Server is a server that accepts connections until Close.
type Server struct {
	Port int

	dir     string
	process *os.Process
	attr    *syscall.SysProcAttr
	stop    syscall.Signal
	ended   chan struct{} // closed when the process has
}

// PostgreSQL starts the newest installed PostgreSQL. User postgres needs no
// password.
func PostgreSQL() (*Server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	path, err := exec.LookPath("postgres")
	if len(found) > 0 {
		path, err = newest(found), nil
	}
	if err != nil {
		return nil, fmt.Errorf("postgres %w (on Debian: apt-get install postgresql)", ErrMissing)
	}
	s, err := prepare("postgres", syscall.SIGQUIT)
	if err != nil {
		return nil, err
	}
	data := filepath.Join(s.dir, "data")
	err = s.run(filepath.Join(filepath.Dir(path), "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
	if err != nil {
		return nil, err
	}
	return s, s.start("database system is ready to accept connections", path, "-D", data, "-p", strconv.Itoa(s.Port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=", "-c", "max_connections=200", "-c", "fsync=off")
}

// newest returns the path with the highest version in it, as in
// /usr/lib/postgresql/9.6/bin/postgres: 9.6 is below 15. Only digits and dots
// are compared.
func newest(paths []string) string {
	return slices.MaxFunc(paths, func(a, b string) int { return slices.Compare(version(a), version(b)) })
}

// version returns the numbers in the name of the folder two levels above a
// program.
func version(path string) (numbers []int) {
	name := filepath.Base(filepath.Dir(filepath.Dir(path)))
	for _, digits := range strings.FieldsFunc(name, func(r rune) bool { return r < '0' || r > '9' }) {
		n, _ := strconv.Atoi(digits) // Atoi returns the largest number for too many digits
		numbers = append(numbers, n)
	}
	return numbers
}

// MariaDB starts the installed MariaDB. User root needs no password.
func MariaDB() (*Server, error) {
	path, err := lookPath("mariadbd", "/usr/sbin/mariadbd", "/usr/libexec/mariadbd")
	if err != nil {
		return nil, fmt.Errorf("mariadbd %w (on Debian: apt-get install mariadb-server)", ErrMissing)
	}
	install, err := lookPath("mariadb-install-db")
	if err != nil {
		return nil, fmt.Errorf("mariadb-install-db %w (on Debian: apt-get install mariadb-server)", ErrMissing)
	}
	s, err := prepare("mysql", syscall.SIGKILL)
	if err != nil {
		return nil, err
	}
	data := "--datadir=" + filepath.Join(s.dir, "data")
	if err := s.run(install, "--no-defaults", data, "--auth-root-authentication-method=normal"); err != nil {
		return nil, err
	}
	return s, s.start("ready for connections", path, "--no-defaults", data, "--port="+strconv.Itoa(s.Port),
		"--bind-address=127.0.0.1", "--socket="+filepath.Join(s.dir, "socket"), "--pid-file="+filepath.Join(s.dir, "pid"),
		"--max-connections=200", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--skip-name-resolve")
}

func lookPath(names ...string) (path string, err error) {
	for _, name := range names {
		if path, err = exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", err
}

// prepare creates a directory and chooses a port. If the test runs as root, it
// also chooses the account under which the server runs.
func prepare(account string, stop syscall.Signal) (*Server, error) {
	dir, err := os.MkdirTemp("", "dbserver-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, stop: stop, attr: &syscall.SysProcAttr{Pdeathsig: stop}, ended: make(chan struct{})}
	l, port, err := ports.Take()
	if err != nil {
		return nil, s.failed(err)
	}
	s.Port = port
	if err := l.Close(); err != nil {
		return nil, s.failed(err)
	}
	if os.Geteuid() != 0 {
		return s, nil
	}
	u, err := user.Lookup(account)
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, s.failed(fmt.Errorf("the server refuses to run as root: %w", err))
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	s.attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, s.failed(err)
	}
	return s, nil
}

// run runs a program to its end, under the same account as the server. Like
// serve, it locks its thread, because the program dies with the thread that
// started it.
func (s *Server) run(path string, args ...string) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.attr
	if out, err := cmd.CombinedOutput(); err != nil {
		return s.failed(fmt.Errorf("%s: %w\n%s", path, err, out))
	}
	return nil
}

// start starts the server and returns when its log has a line that contains
// ready.
func (s *Server) start(ready, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.attr
	log, err := cmd.StderrPipe()
	if err != nil {
		return s.failed(err)
	}
	started := make(chan error, 1)
	go s.serve(cmd, log, ready, started)
	if err := <-started; err != nil {
		return s.failed(fmt.Errorf("start %s: %w", path, err))
	}
	return nil
}

// serve runs the server, and reports once that it is ready or that it failed.
func (s *Server) serve(cmd *exec.Cmd, log io.Reader, ready string, started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(s.ended)
	if err := cmd.Start(); err != nil {
		started <- err
		return
	}
	s.process = cmd.Process
	var said strings.Builder
	up := false
	for lines := bufio.NewScanner(log); !up && lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		up = strings.Contains(lines.Text(), ready)
	}
	if up {
		started <- nil
	}
	_, _ = io.Copy(io.Discard, log) // until it ends
	if err := cmd.Wait(); !up {
		started <- fmt.Errorf("it ended: %v; its log:\n%s", err, said.String())
	}
}

func (s *Server) failed(err error) error {
	return errors.Join(err, s.remove())
}

func (s *Server) remove() error {
	ports.Give(s.Port)
	return os.RemoveAll(s.dir)
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	_ = s.process.Signal(s.stop) // fails if it has ended by itself
	<-s.ended
	return s.remove()
}
