package redisserver

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/test/ports"
)

const (
	// startTimeout bounds the wait for a started server's first answer, even on a busy machine.
	startTimeout = 60 * time.Second
	// startTries bounds the ports that are tried for a new node.
	startTries = 20
)

// node is one redis-server: a port, a directory, and at any time at most one
// process.
type node struct {
	path string
	dir  string
	opts Options
	env  []string
	port int
	// sentinel, if not empty, is the configuration of a Sentinel.
	sentinel string

	// mu makes each operation on the node atomic, including the wait for the process.
	mu     sync.Mutex
	proc   *process // nil while the node is stopped
	paused bool
	closed bool
	// asked counts the commands of this package that proc executed.
	asked map[string]int64
}

// newNode starts a server on a free port. A port that was free when it was
// chosen may be taken when the server binds it; then another one is tried.
func newNode(path, dir string, o Options, index int, sentinel string) (*node, error) {
	n := &node{path: path, dir: dir, opts: o, sentinel: sentinel}
	if o.Env != nil {
		n.env = o.Env(index)
	}
	for try := 1; ; try++ {
		l, port, err := ports.Take()
		if err != nil {
			return nil, err
		}
		n.port = port
		if err = errors.Join(l.Close(), n.start()); err == nil {
			n.mark()
			return n, nil
		}
		ports.Give(port)
		if try == startTries || !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

// mark puts a mark on a new node that proves that it was not used before. If the server refuses the mark, clients must
// assume that it may have been used.
func (n *node) mark() {
	if n.sentinel != "" {
		return
	}
	c, err := dial(n)
	if err != nil {
		return
	}
	defer c.close()
	if info, err := c.do("INFO", "server"); err == nil {
		_, _ = c.do("SET", marks.Key, marks.New(infoFields(info)["run_id"], time.Now()))
	}
}

func (n *node) addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(n.port)) }

func (n *node) url() string {
	u := url.URL{Scheme: "redis", Host: n.addr()}
	if n.opts.TLS != nil {
		u.Scheme = "rediss"
	}
	if n.opts.Password != "" {
		u.User = url.UserPassword("", n.opts.Password)
	}
	return u.String()
}

func (n *node) args() []string {
	if n.sentinel != "" {
		return []string{n.configFile(), "--sentinel"}
	}
	args := []string{"--bind", "127.0.0.1", "--dir", n.dir, "--save", "", "--daemonize", "no"}
	if n.opts.Persist {
		args = append(args, "--appendonly", "yes", "--appendfsync", "everysec")
	} else {
		args = append(args, "--appendonly", "no")
	}
	port := strconv.Itoa(n.port)
	if t := n.opts.TLS; t != nil {
		args = append(args, "--port", "0", "--tls-port", port, "--tls-auth-clients", "no",
			"--tls-cert-file", t.CertFile, "--tls-key-file", t.KeyFile, "--tls-ca-cert-file", t.CAFile)
	} else {
		args = append(args, "--port", port)
	}
	if n.opts.Password != "" {
		args = append(args, "--requirepass", n.opts.Password)
	}
	return append(args, n.opts.Args...)
}

// start starts the server and waits until it answers. The node must be stopped, and mu must be held once the node is
// shared.
func (n *node) start() error {
	if err := os.MkdirAll(n.dir, 0o700); err != nil {
		return err
	}
	if n.sentinel != "" {
		if err := n.writeConfig(); err != nil {
			return err
		}
	}
	proc, err := startProcess(n.command(), n.dir)
	if err != nil {
		return err
	}
	n.asked = map[string]int64{}
	if err := n.awaitReady(proc); err != nil {
		proc.kill()
		return err
	}
	n.proc, n.paused = proc, false
	return nil
}

func (n *node) command() *exec.Cmd {
	cmd := exec.Command(n.path, n.args()...)
	cmd.Env = append(os.Environ(), n.env...)
	cmd.SysProcAttr = dieWithParent()
	if n.opts.Disk != "" {
		onDisk(cmd, n.dir, n.opts.Disk)
	}
	return cmd
}

// awaitReady waits until the server answers, and the server is proc.
func (n *node) awaitReady(proc *process) error {
	deadline := time.NewTimer(startTimeout)
	defer deadline.Stop()
	poll := time.NewTicker(2 * time.Millisecond)
	defer poll.Stop()
	for {
		err := n.ready(proc.pid)
		if err == nil {
			return nil
		}
		select {
		case <-proc.exited:
			return proc.failure()
		case <-deadline.C:
			return fmt.Errorf("redis-server does not answer at %s after %v: %w: %w; its log ends with:\n%s",
				n.addr(), startTimeout, os.ErrDeadlineExceeded, err, proc.logTail())
		case <-poll.C:
		}
	}
}

// ready asks the server for its process id, because on a port that was taken in the meantime another server may answer.
func (n *node) ready(pid int) error {
	c, err := dial(n)
	if err != nil {
		return err
	}
	defer c.close()
	if _, err := c.do("PING"); err != nil {
		return err
	}
	info, err := c.do("INFO", "server")
	if err != nil {
		return err
	}
	if got := infoFields(info)["process_id"]; got != strconv.Itoa(pid) {
		return fmt.Errorf("process %s answers, not %d", got, pid)
	}
	return nil
}

func (n *node) stop() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.writeLocked()
	n.stopLocked()
}

// writeLocked makes the server write all acknowledged commands to its file, if it still answers. While the append-only
// file is being synced, a server that syncs every second delays further writes by up to two seconds, and a kill would
// lose them.
func (n *node) writeLocked() {
	if n.proc == nil || n.paused || n.closed || !n.opts.Persist {
		return
	}
	if c, err := dial(n); err == nil {
		defer c.close()
		_, _ = c.do("CONFIG", "SET", "appendfsync", "always") // from then on it writes before it answers
	}
}

// awaitWrittenLocked is writeLocked for a server that keeps running with its own settings.
func (n *node) awaitWrittenLocked() {
	if !n.opts.Persist {
		return
	}
	c, err := dial(n)
	if err != nil {
		return
	}
	defer c.close()
	for end := time.Now().Add(putOff); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if text, err := c.do("INFO", "persistence"); err != nil || !strings.Contains(text, "aof_buffer_length:") || strings.Contains(text, "aof_buffer_length:0\r\n") {
			return
		}
	}
}

// putOff is longer than a server delays writes to its append-only file.
const putOff = 5 * time.Second

func (n *node) stopLocked() {
	if n.proc != nil {
		n.proc.kill()
		n.proc, n.paused = nil, false
	}
}

func (n *node) restart(lose bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errors.New("the nodes are closed: start new ones")
	}
	if !lose && !n.opts.Persist {
		return errors.New("it keeps nothing: start the nodes with Options.Persist, or restart with lose")
	}
	if !lose {
		n.writeLocked()
	}
	n.stopLocked()
	if lose {
		if err := n.forget(); err != nil {
			return err
		}
	}
	return n.start()
}

// forget removes the server's data, except its place in a Redis Cluster, which is in nodes.conf.
func (n *node) forget() error {
	files, err := os.ReadDir(n.dir)
	for _, f := range files {
		if f.Name() != "nodes.conf" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(n.dir, f.Name())))
		}
	}
	return err
}

func (n *node) pause() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && !n.paused {
		n.awaitWrittenLocked() // the server may be killed while it is paused
		n.proc.freeze()
		n.paused = true
	}
}

func (n *node) resume() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.proc != nil && n.paused {
		n.proc.thaw()
		n.paused = false
	}
}

func (n *node) commands() map[string]int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	counts := map[string]int64{}
	if n.proc == nil || n.paused {
		return counts
	}
	c, err := dial(n)
	if err != nil {
		return counts
	}
	defer c.close()
	// The server's answer does not contain the INFO that asks for it, and asked does not contain it either until it is
	// answered.
	asked := maps.Clone(n.asked)
	info, err := c.do("INFO", "commandstats")
	if err != nil {
		return counts
	}
	for field, value := range infoFields(info) {
		name, ok := strings.CutPrefix(field, "cmdstat_")
		if !ok {
			continue
		}
		if calls := callsOf(value) - asked[name]; calls > 0 {
			counts[name] = calls
		}
	}
	return counts
}

// callsOf reads the number of calls from a value such as
// "calls=3,usec=12,usec_per_call=4.00".
func callsOf(stat string) int64 {
	first, _, _ := strings.Cut(stat, ",")
	calls, err := strconv.ParseInt(strings.TrimPrefix(first, "calls="), 10, 64)
	if err != nil {
		return 0
	}
	return calls
}

func (n *node) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stopLocked()
	if !n.closed {
		ports.Give(n.port)
	}
	n.closed = true
}
