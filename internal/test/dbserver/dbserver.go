//go:build linux

package dbserver

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// ErrMissing is matched by the error if a server is not installed.
var ErrMissing = errors.New("is not installed")

// Server is a server that accepts connections until Close.
type Server struct {
	Port int

	dir  string
	cmd  *exec.Cmd
	stop syscall.Signal
	ran  chan struct{} // closed when its log has ended
}

// PostgreSQL starts the newest one that is installed. User postgres needs no
// password.
func PostgreSQL() (*Server, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	path, err := exec.LookPath("postgres")
	if len(found) > 0 {
		path, err = found[len(found)-1], nil
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

// MariaDB starts the one that is installed. User root needs no password.
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

// prepare makes a directory, and chooses a port and, for root, the account that
// the server runs under.
func prepare(account string, stop syscall.Signal) (*Server, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "dbserver-")
	if err != nil {
		return nil, err
	}
	s := &Server{Port: port, dir: dir, stop: stop, cmd: exec.Command(""), ran: make(chan struct{})}
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: stop}
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
	s.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	if err := errors.Join(err1, err2, os.Chown(dir, int(uid), int(gid))); err != nil {
		return nil, s.failed(err)
	}
	return s, nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// run runs a program to its end, as the server will run.
func (s *Server) run(path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.cmd.SysProcAttr
	if out, err := cmd.CombinedOutput(); err != nil {
		return s.failed(fmt.Errorf("%s: %w\n%s", path, err, out))
	}
	return nil
}

// start returns when the server's log says that it is ready.
func (s *Server) start(ready, path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.SysProcAttr = s.dir, s.cmd.SysProcAttr
	log, err := cmd.StderrPipe()
	if err != nil {
		return s.failed(err)
	}
	if err := cmd.Start(); err != nil {
		return s.failed(err)
	}
	s.cmd = cmd
	lines := bufio.NewScanner(log)
	var said []string
	for lines.Scan() {
		said = append(said, lines.Text())
		if strings.Contains(lines.Text(), ready) {
			go func() {
				defer close(s.ran)
				io.Copy(io.Discard, log)
			}()
			return nil
		}
	}
	close(s.ran)
	return s.failed(fmt.Errorf("%s did not start:\n%s", path, strings.Join(slices.Concat(said, []string{fmt.Sprint(cmd.Wait())}), "\n")))
}

func (s *Server) failed(err error) error {
	return errors.Join(err, os.RemoveAll(s.dir))
}

// Close ends the server and removes its data.
func (s *Server) Close() error {
	s.cmd.Process.Signal(s.stop)
	<-s.ran
	s.cmd.Wait() // it was killed
	return os.RemoveAll(s.dir)
}
