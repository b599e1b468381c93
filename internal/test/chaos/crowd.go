//go:build unix

package chaos

import (
	"context"
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

// crowd holds the client processes of one run and their reports.
type crowd struct {
	config func(slot, number int) clientConfig

	// restarting is held while a client is stopped or replaced, so that no fault affects a client that is being
	// restarted with another list.
	restarting sync.Mutex

	mu       sync.Mutex
	slots    []*process // running processes, by slot
	all      []*process
	attempts map[[2]int]*attempt // by client and op
	stalls   []stall
	deposits map[deposit]*deposit // by client, key and version, which are known before
	watches  map[int]*watch       // by client
	seen     []sighting
	paces    []pace
	findings findings // findings that clients reported
}

// process is one client process. Its number is unique. Its slot is the place in the network, which it shares with the
// processes that it replaced.
type process struct {
	slot, number int
	cmd          *exec.Cmd
	stdin        io.WriteCloser
	stderr       tail
	ready        chan struct{} // closed when it has reached the nodes
	exited       chan struct{}
	waitErr      error // valid once exited is closed

	killedAt int64 // 0: it was not killed; guarded by crowd.mu
	peace    bool  // it reported reportBye; guarded by crowd.mu
	missed   bool  // it reported reportMissed; guarded by crowd.mu
}

func newCrowd(n int, config func(slot, number int) clientConfig) *crowd {
	return &crowd{config: config, slots: make([]*process, n), attempts: map[[2]int]*attempt{},
		deposits: map[deposit]*deposit{}, watches: map[int]*watch{}}
}

// spawn starts a client in a slot and waits until it has reached the nodes.
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
		return w.ended(p)
	case <-time.After(nodeTimeout):
		return fmt.Errorf("client %d did not reach the nodes within %v: %w", p.number, nodeTimeout, os.ErrDeadlineExceeded)
	}
}

// start runs this test binary again. If a process dies with its parent, the parent is the thread that started it, so
// that thread is kept alive.
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
			p.waitErr = p.cmd.Wait() // returns after all its output has been processed
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		close(p.exited)
		return err
	}
	return nil
}

// take processes one line of a client's output.
func (w *crowd) take(p *process, line []byte) {
	var r report
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := json.Unmarshal(line, &r); err != nil {
		w.findings.broken = append(w.findings.broken, fmt.Sprintf("client %d said %q", p.number, line))
		return
	}
	switch r.Kind {
	case reportReady:
		close(p.ready)
	case reportCall, reportHeld, reportOver:
		w.attempts[[2]int{p.number, r.Attempt.Op}] = r.Attempt
	case reportStall:
		w.stalls = append(w.stalls, *r.Stall)
	case reportKept:
		d := r.Deposit
		w.deposits[deposit{version: d.version, Client: d.Client, Key: d.Key}] = d
	case reportWatch:
		w.watches[p.number] = r.Watch
	case reportSeen:
		w.seen = append(w.seen, *r.Seen)
	case reportPace:
		w.paces = append(w.paces, *r.Pace)
	case reportBye:
		p.peace = true
	case reportMissed:
		p.missed = true
		w.findings.missed = append(w.findings.missed, fmt.Sprintf("client %d: %s", p.number, r.Text))
	default:
		w.findings.broken = append(w.findings.broken, fmt.Sprintf("client %d: %s", p.number, r.Text))
	}
}

func (w *crowd) in(slot int) *process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.slots[slot]
}

// kill kills the client in a slot. From then on it no longer believes to hold any key.
func (w *crowd) kill(slot int) error {
	p := w.in(slot)
	w.mu.Lock()
	if !p.over() {
		p.killedAt = now()
	}
	w.mu.Unlock()
	err := p.cmd.Process.Kill()
	<-p.exited
	if err != nil {
		return w.ended(p)
	}
	return nil
}

// over reports whether the process is known to have ended.
func (p *process) over() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ended returns the error of a client that ended unexpectedly. If the client reported missed progress before, it ended
// because of that, unless it crashed.
func (w *crowd) ended(p *process) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if said := p.stderr.String(); p.missed && !strings.Contains(said, "panic: ") && !strings.Contains(said, "fatal error: ") {
		return fmt.Errorf("client %d gave up: %w", p.number, os.ErrDeadlineExceeded)
	}
	return fmt.Errorf("client %d ended badly: %v; %s", p.number, p.waitErr, p.stderr.String())
}

// halt stops the client in a slot until the returned function is called.
func (w *crowd) halt(slot int) (resume func() error, err error) {
	p := w.in(slot)
	from := now()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		<-p.exited
		return nil, w.ended(p)
	}
	return func() error {
		err := p.cmd.Process.Signal(syscall.SIGCONT)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.stalls = append(w.stalls, stall{Client: p.number, From: from, To: now(), Halted: true})
		return err
	}, nil
}

// finish notifies all clients that the faults are over, and waits until they have ended without error, the last
// candidate after all others.
func (w *crowd) finish(patience time.Duration) (errs []error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	late := ctx.Done()
	for slot := range w.slots {
		w.in(slot).tell(toldFinish)
	}
	for slot := range w.slots {
		if slot != lastSlot {
			errs = append(errs, w.await(w.in(slot), late))
		}
	}
	w.in(lastSlot).tell(toldResign)
	return append(errs, w.await(w.in(lastSlot), late))
}

// lastSlot is the slot of the last candidate.
const lastSlot = 0

// leave makes a client end without error. Another client may already have its slot.
func (w *crowd) leave(p *process, patience time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	p.tell(toldLeave)
	return w.await(p, ctx.Done())
}

// tell sends a word to the client. If the client has ended, await reports that.
func (p *process) tell(word string) {
	_, _ = io.WriteString(p.stdin, word+"\n")
}

// await waits until a client has ended, or late is closed. It returns an error unless the client ended as intended.
func (w *crowd) await(p *process, late <-chan struct{}) error {
	select {
	case <-p.exited:
	case <-late:
		return fmt.Errorf("client %d did not end: %w", p.number, os.ErrDeadlineExceeded)
	}
	w.mu.Lock()
	peace := p.peace && p.waitErr == nil
	w.mu.Unlock()
	if !peace {
		return w.ended(p)
	}
	return nil
}

// close kills all clients that still run. From then on they no longer believe to hold any key, so that a run that was
// cut short can be judged.
func (w *crowd) close() {
	w.mu.Lock()
	all := w.all
	w.mu.Unlock()
	for _, p := range all {
		if p.cmd != nil && p.cmd.Process != nil {
			w.mu.Lock()
			if p.killedAt == 0 && !p.over() {
				p.killedAt = now()
			}
			w.mu.Unlock()
			_ = p.cmd.Process.Kill() // fails if it has ended
			<-p.exited
		}
	}
}

// collect writes the reports of the clients into h. All clients must have ended.
func (w *crowd) collect(h *history) findings {
	w.mu.Lock()
	defer w.mu.Unlock()
	killed := map[int]int64{}
	for _, p := range w.all {
		killed[p.number] = p.killedAt
	}
	for _, a := range w.attempts {
		if a.Acquired != 0 && a.Until == 0 { // of a client that ended by itself, nothing more is certain
			a.Until = max(a.Acquired, killed[a.Client])
		}
		h.Attempts = append(h.Attempts, *a)
	}
	sortBy(h.Attempts, func(a attempt) int64 { return a.Call })
	for _, d := range w.deposits {
		h.Deposits = append(h.Deposits, *d)
	}
	sortBy(h.Deposits, func(d deposit) int64 { return d.Call })
	for _, o := range w.watches {
		if o.To == 0 {
			o.To = killed[o.Client]
		}
		h.Watches = append(h.Watches, *o)
	}
	h.Stalls, h.Sightings, h.Paces = w.stalls, w.seen, append(h.Paces, w.paces...)
	return w.findings
}

// logs returns the last part of each client's standard error.
func (w *crowd) logs() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var b strings.Builder
	for _, p := range w.all {
		fmt.Fprintf(&b, "== client %d\n%s\n", p.number, p.stderr.String())
	}
	return b.String()
}
