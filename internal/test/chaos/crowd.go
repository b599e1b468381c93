//go:build unix

package chaos

import (
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
	deposits map[deposit]*deposit // by what was known before: client, key and version
	watches  map[int]*watch       // by client
	seen     []sighting
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
	return &crowd{config: config, slots: make([]*process, n), attempts: map[[2]int]*attempt{},
		deposits: map[deposit]*deposit{}, watches: map[int]*watch{}}
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
	case reportKept:
		d := r.Deposit
		w.deposits[deposit{version: d.version, Client: d.Client, Key: d.Key}] = d
	case reportWatch:
		w.watches[p.number] = r.Watch
	case reportSeen:
		w.seen = append(w.seen, *r.Seen)
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

// finish tells all clients that the faults are over, and waits until they have ended in peace: the last candidate after all others.
func (w *crowd) finish(patience time.Duration) error {
	late := time.After(patience)
	for slot := range w.slots {
		if err := w.tell(slot, toldFinish); err != nil {
			return err
		}
	}
	for slot := range w.slots {
		if slot != lastSlot {
			if err := w.await(slot, late); err != nil {
				return err
			}
		}
	}
	if err := w.tell(lastSlot, toldResign); err != nil {
		return err
	}
	return w.await(lastSlot, late)
}

// lastSlot is the slot of the last candidate.
const lastSlot = 0

func (w *crowd) tell(slot int, word string) error {
	p := w.in(slot)
	if _, err := io.WriteString(p.stdin, word+"\n"); err != nil {
		return fmt.Errorf("client %d: %w", p.number, err)
	}
	return nil
}

// await waits until a client has ended in peace, or it is late.
func (w *crowd) await(slot int, late <-chan time.Time) error {
	p := w.in(slot)
	select {
	case <-p.exited:
	case <-late:
		return fmt.Errorf("client %d did not end in time", p.number)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.peace || p.waitErr != nil {
		return fmt.Errorf("client %d ended badly: %v", p.number, p.waitErr)
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
	h.Stalls, h.Sightings = w.stalls, w.seen
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
