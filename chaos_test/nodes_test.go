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
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/venta-hq/redlock/internal/test/redisserver"
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
	// CutTail takes the end off the append-only file of node i, which is stopped: all but this part of it.
	CutTail(i int, part float64) error
	// SetClock has the clock of node i show another time from now on, as libfaketime reads it.
	SetClock(i int, setting string) error
	Close() error
}

// memory is what a node knows after a crash.
type memory string

const (
	nothing    memory = ""
	mostOfIt   memory = "everysec" // it writes to disk once a second
	everything memory = "always"   // it writes to disk before it answers
)

// nodeKind is what the nodes of a row are like.
type nodeKind struct {
	memory memory
	clocks []string // if not nil, each has a clock that can be set, which shows this at first, as libfaketime reads it
	small  bool     // its disk has smallDisk, and is as good as new after a restart
}

const (
	smallDisk = "16m"
	tooMuch   = 24 << 20 // bytes, for such a disk
)

// backend is where nodes come from.
type backend struct {
	name  string // for the line at the start
	start func(n int, k nodeKind) (nodes, error)
	close func()
	// noClocks and noSmallDisks say why there can be none, if so. Each is tried once.
	noClocks, noSmallDisks func() error
}

func newBackend(name string, start func(int, nodeKind) (nodes, error), close func()) *backend {
	return &backend{
		name: name, start: start, close: close,
		noClocks: sync.OnceValue(func() error {
			set, err := start(1, nodeKind{clocks: []string{"+0"}})
			if err != nil {
				return err
			}
			return errors.Join(tryClock(set), set.Close())
		}),
		noSmallDisks: sync.OnceValue(func() error {
			set, err := start(1, nodeKind{memory: mostOfIt, small: true})
			if err != nil {
				return err
			}
			return set.Close()
		}),
	}
}

// lacks says why there can be no nodes of this kind, if so.
func (b *backend) lacks(k nodeKind) error {
	if k.clocks != nil {
		if err := b.noClocks(); err != nil {
			return fmt.Errorf("no clocks that can be set: %w", err)
		}
	}
	if k.small {
		if err := b.noSmallDisks(); err != nil {
			return fmt.Errorf("no small disks: %w", err)
		}
	}
	return nil
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
	path, err := redisserver.Available()
	if err != nil {
		return nil, fmt.Errorf("%w: %s; %w", errNoNodes, why, err)
	}
	version, err := redisserver.Version(path)
	if err != nil {
		return nil, err
	}
	return newBackend(fmt.Sprintf("%s child processes: %s", version, why), startProcesses, func() {}), nil
}

func startProcesses(n int, k nodeKind) (nodes, error) {
	o := redisserver.Options{Persist: k.memory != nothing}
	if o.Persist {
		o.Args = []string{"--appendfsync", string(k.memory)}
	}
	if k.small {
		o.Disk = smallDisk
	}
	c, err := newClocks(k.clocks)
	if err != nil {
		return nil, err
	}
	if k.clocks != nil {
		o.Env = func(i int) []string { return c.env(c.file(i)) }
	}
	s, err := redisserver.Start(n, o)
	if err != nil {
		return nil, errors.Join(err, c.remove())
	}
	return processes{s, o.Persist, c}, nil
}

// processes are nodes that are child processes.
type processes struct {
	set  *redisserver.Nodes
	keep bool
	clocks
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
func (p processes) Close() error        { p.set.Close(); return p.remove() }

func (p processes) CutTail(i int, part float64) error {
	files, err := filepath.Glob(filepath.Join(p.set.Dir(i), "appendonlydir", "*.incr.aof"))
	if err != nil || len(files) != 1 {
		return fmt.Errorf("node %d has these append-only files: %q", i, files)
	}
	info, err := os.Stat(files[0])
	if err != nil {
		return err
	}
	return os.Truncate(files[0], int64(float64(info.Size())*part))
}

// awaitAnswer waits until the server at addr answers.
func awaitAnswer(addr string) error {
	soon := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(5*time.Millisecond), backoff.WithMultiplier(1), backoff.WithMaxElapsedTime(nodeTimeout))
	if err := backoff.Retry(func() error { _, err := serverVersion(addr); return err }, soon); err != nil {
		return fmt.Errorf("no answer from %s within %v: %w", addr, nodeTimeout, err)
	}
	return nil
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
