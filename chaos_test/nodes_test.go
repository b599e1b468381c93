//go:build unix

package chaos_test

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/venta-hq/redlock/internal/redisproc"
)

// nodeTimeout bounds every step of starting a node and of looking at it.
const nodeTimeout = 20 * time.Second

// nodes is a set of independent Redis servers on addresses that stay the same.
type nodes interface {
	Addrs() []string
	// Stop kills node i with SIGKILL.
	Stop(i int) error
	// Restart starts node i again, with the data it kept, and returns when it answers.
	Restart(i int) error
	// Pause freezes node i until Resume.
	Pause(i int) error
	Resume(i int) error
	Close() error
}

// backend is where nodes come from.
type backend struct {
	name string // for the line at the start
	// start starts nodes that keep everything over a crash, or forget everything.
	start func(n int, keep bool) (nodes, error)
	close func()
}

// errNoNodes matches errors that say that this machine has nothing to run nodes with.
var errNoNodes = errors.New("no real nodes")

var (
	// theBackend chooses the backend when it is first needed. It says once which it is.
	theBackend = sync.OnceValues(func() (*backend, error) {
		b, err := chooseBackend()
		if err == nil {
			fmt.Printf("chaos: %d %s\n", nodeCount, b.name)
			chosen.Store(b)
		}
		return b, err
	})
	chosen atomic.Pointer[backend]
)

// closeBackend removes what the backend has left anywhere.
func closeBackend() {
	if b := chosen.Load(); b != nil {
		b.close()
	}
}

// chooseBackend looks what there is. The error matches errNoNodes if the scenarios are to be skipped.
func chooseBackend() (*backend, error) {
	if list := os.Getenv("REDLOCK_TEST_BACKENDS"); list != "" && !strings.Contains(list, "redis") {
		return nil, fmt.Errorf("%w: REDLOCK_TEST_BACKENDS=%s", errNoNodes, list)
	}
	switch want := os.Getenv("REDLOCK_CHAOS_NODES"); want {
	case "docker":
		return dockerBackend()
	case "processes":
		return processBackend("REDLOCK_CHAOS_NODES=" + want)
	case "":
		b, err := dockerBackend()
		if err != nil {
			return processBackend(err.Error())
		}
		return b, nil
	default:
		return nil, fmt.Errorf("REDLOCK_CHAOS_NODES is %q: it must be docker or processes", want)
	}
}

// processBackend runs nodes as child processes, for the reason that there is.
func processBackend(why string) (*backend, error) {
	path, err := redisproc.Available()
	if err != nil {
		return nil, fmt.Errorf("%w: %s; %w", errNoNodes, why, err)
	}
	version, err := redisproc.Version(path)
	if err != nil {
		return nil, err
	}
	return &backend{
		name:  fmt.Sprintf("redis-server %s child processes: %s", version, why),
		start: startProcesses,
		close: func() {},
	}, nil
}

// alwaysSync has a node write every command to disk before it answers.
var alwaysSync = []string{"--appendfsync", "always"}

func startProcesses(n int, keep bool) (nodes, error) {
	o := redisproc.Options{Persist: keep}
	if keep {
		o.Args = alwaysSync
	}
	s, err := redisproc.Start(n, o)
	if err != nil {
		return nil, err
	}
	return processes{s, keep}, nil
}

// processes are nodes that are child processes.
type processes struct {
	set  *redisproc.Nodes
	keep bool
}

func (p processes) Addrs() []string {
	var addrs []string
	for _, url := range p.set.URLs() {
		addrs = append(addrs, strings.TrimPrefix(url, "redis://"))
	}
	return addrs
}

func (p processes) Stop(i int) error    { p.set.Stop(i); return nil }
func (p processes) Restart(i int) error { return p.set.Restart(i, !p.keep) }
func (p processes) Pause(i int) error   { p.set.Pause(i); return nil }
func (p processes) Resume(i int) error  { p.set.Resume(i); return nil }
func (p processes) Close() error        { p.set.Close(); return nil }

// awaitAnswer waits until the server at addr answers.
func awaitAnswer(addr string) error {
	deadline := time.Now().Add(nodeTimeout)
	for {
		_, err := serverVersion(addr)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("no answer from %s within %v: %w", addr, nodeTimeout, err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// serverVersion asks the server at addr for its version.
func serverVersion(addr string) (string, error) {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(time.Second)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(conn, "INFO server\r\n"); err != nil {
		return "", err
	}
	in := bufio.NewScanner(conn)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "-") {
			return "", errors.New(in.Text()[1:])
		}
		if version, ok := strings.CutPrefix(in.Text(), "redis_version:"); ok {
			return version, nil
		}
	}
	return "", cmp.Or(in.Err(), io.ErrUnexpectedEOF)
}
