//go:build unix

package chaos_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crowd is the client processes of one run, as the test's process sees them.
type crowd struct {
	config func(slot, number int) clientConfig

	mu       sync.Mutex
	slots    []*process // that run, by slot
	all      []*process
	attempts map[[2]int]*attempt // by client and op
	stalls   []stall
	faults   []string // what clients must not say
}

// process is one client process. Its number is its own, its slot the place in the network that it shares with those
// it replaced.
type process struct {
	slot, number int
	cmd          *exec.Cmd
	stdin        io.WriteCloser
	stderr       tail
	ready        chan struct{} // closed when it has met the nodes
	exited       chan struct{}
	waitErr      error // valid once exited is closed

	killedAt int64 // 0: it was not; guarded by crowd.mu
	peace    bool  // it said bye; guarded by crowd.mu
}

func newCrowd(n int, config func(slot, number int) clientConfig) *crowd {
	return &crowd{config: config, slots: make([]*process, n), attempts: map[[2]int]*attempt{}}
}

// spawn starts a client in a slot and waits until it has met the nodes.
func (w *crowd) spawn(slot int) error {
	w.mu.Lock()
	p := &process{slot: slot, number: len(w.all) + 1, ready: make(chan struct{}), exited: make(chan struct{})}
	w.all = append(w.all, p)
	w.slots[slot] = p
	w.mu.Unlock()
	if err := w.start(p); err != nil {
		return err
	}
	select {
	case <-p.ready:
		return nil
	case <-p.exited:
		return fmt.Errorf("client %d ended: %v; %s", p.number, p.waitErr, p.stderr.String())
	case <-time.After(nodeTimeout):
		return fmt.Errorf("client %d did not meet the nodes within %v: %s", p.number, nodeTimeout, p.stderr.String())
	}
}

// start runs this test binary again. Where a process is set to die with its parent, the parent is the thread that
// started it, so one is kept for it.
func (w *crowd) start(p *process) error {
	config, err := json.Marshal(w.config(p.slot, p.number))
	if err != nil {
		return err
	}
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), clientEnv+"="+string(config))
	p.cmd.Stdout = &lines{take: func(line []byte) { w.take(p, line) }}
	p.cmd.Stderr = &p.stderr
	p.cmd.SysProcAttr = dieWithParent()
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return err
	}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			p.waitErr = p.cmd.Wait() // what it wrote has been taken in by then
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		close(p.exited)
		return err
	}
	return nil
}

// take takes in one line of a client.
func (w *crowd) take(p *process, line []byte) {
	var r report
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := json.Unmarshal(line, &r); err != nil {
		w.faults = append(w.faults, fmt.Sprintf("client %d said %q", p.number, line))
		return
	}
	switch r.Kind {
	case reportReady:
		close(p.ready)
	case reportCall, reportHeld, reportOver:
		w.attempts[[2]int{p.number, r.Attempt.Op}] = r.Attempt
	case reportStall:
		w.stalls = append(w.stalls, *r.Stall)
	case reportBye:
		p.peace = true
	default:
		w.faults = append(w.faults, fmt.Sprintf("client %d: %s", p.number, r.Text))
	}
}

func (w *crowd) in(slot int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots[slot]
}

// kill kills the client in a slot. What it believed ends here.
func (w *crowd) kill(slot int) error {
	p := w.in(slot)
	w.mu.Lock()
	p.killedAt = now()
	w.mu.Unlock()
	if err := p.cmd.Process.Kill(); err != nil {
		return err
	}
	<-p.exited
	return nil
}

// halt stops the client in a slot until the returned function is called.
func (w *crowd) halt(slot int) (resume func() error, err error) {
	p := w.in(slot)
	from := now()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return nil, err
	}
	return func() error {
		err := p.cmd.Process.Signal(syscall.SIGCONT)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stalls = append(w.stalls, stall{Client: p.number, From: from, To: now()})
		return err
	}, nil
}

// finish tells all clients that the faults are over, and waits until they have ended in peace.
func (w *crowd) finish(patience time.Duration) error {
	for slot := range w.slots {
		if _, err := io.WriteString(w.in(slot).stdin, toldFinish+"\n"); err != nil {
			return fmt.Errorf("client %d: %w", w.in(slot).number, err)
		}
	}
	late := time.After(patience)
	for slot := range w.slots {
		p := w.in(slot)
		select {
		case <-p.exited:
		case <-late:
			return fmt.Errorf("client %d did not end within %v", p.number, patience)
		}
		w.mu.Lock()
		peace := p.peace
		w.mu.Unlock()
		if !peace || p.waitErr != nil {
			return fmt.Errorf("client %d ended badly: %v", p.number, p.waitErr)
		}
	}
	return nil
}

// close kills what still runs.
func (w *crowd) close() {
	w.mu.Lock()
	all := w.all
	w.mu.Unlock()
	for _, p := range all {
		if p.cmd != nil && p.cmd.Process != nil {
			_ = p.cmd.Process.Kill() // fails if it has ended
			<-p.exited
		}
	}
}

// collect writes into h what the clients said. All of them must have ended.
func (w *crowd) collect(h *history) (faults []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	killed := map[int]int64{}
	for _, p := range w.all {
		killed[p.number] = p.killedAt
	}
	for _, a := range w.attempts {
		if at := killed[a.Client]; at != 0 && a.Acquired != 0 && a.Until == 0 {
			a.Until = max(a.Acquired, at)
		}
		h.Attempts = append(h.Attempts, *a)
	}
	sortBy(h.Attempts, func(a attempt) int64 { return a.Call })
	h.Stalls = w.stalls
	return w.faults
}

// logs is the end of what each client wrote to its standard error.
func (w *crowd) logs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, p := range w.all {
		fmt.Fprintf(&b, "== client %d\n%s\n", p.number, p.stderr.String())
	}
	return b.String()
}

// lines calls take for each whole line that is written to it.
type lines struct {
	take func(line []byte)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		i := bytes.IndexByte(l.rest, '\n')
		if i < 0 {
			return len(p), nil
		}
		l.take(l.rest[:i])
		l.rest = l.rest[i+1:]
	}
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 64 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	t.text = t.text[max(0, len(t.text)-most):]
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
