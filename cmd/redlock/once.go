package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// onceRun is one call of run --once.
type onceRun struct {
	r       *runCmd
	path    string
	signals chan os.Signal
	begun   chan struct{} // closed when the command is started: signals are its own from then on
	waited  *time.Timer   // ends the wait; nil without --wait
	code    int
	lost    error

	mu          sync.Mutex
	interrupted bool // before the command began
}

// runOnce runs the command unless it is known to have succeeded.
func (r *runCmd) runOnce(cfg cluster.Config, path string) error {
	log := newLogger(r.Quiet, r.Verbose)
	o := &onceRun{r: r, path: path, signals: notifySignals(), begun: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if r.Wait != nil {
		o.waited = time.AfterFunc(*r.Wait, cancel)
	}
	var ran bool
	var outcome lease.Outcome
	done := make(chan error, 1)
	work := func() error {
		c, err := r.open(ctx, cfg, true, log)
		if err != nil {
			return err
		}
		h := &held{c: c}
		defer h.close() // before the program ends: what is on its way to the slower nodes arrives
		leases, err := lease.New(c, lease.Config{TTL: r.TTL, Owner: r.Owner, Prefix: r.Prefix, DoneTTL: r.DoneTTL})
		if err == nil {
			h.keeper = leases
			ran, err = leases.RunOnce(ctx, r.Key, o.run)
		}
		if err == nil && !ran {
			outcome, _, _ = leases.Outcome(ctx, r.Key) // for the message only
		}
		return err
	}
	go func() { done <- work() }()
	var err error
	select {
	case err = <-done:
	case <-o.begun:
		err = <-done
	case sig := <-o.signals:
		if o.interrupt(cancel) {
			select {
			case <-done:
			case <-time.After(cleanup):
			}
			return failed(exitSignal+number(sig), nil)
		}
		o.signals <- sig // it is the command's
		err = <-done
	}
	if err == nil && !ran {
		log.Info(strconv.Quote(r.Key)+" was done before", "by", outcome.Owner, "at", outcome.Ended.Format(time.RFC3339))
	}
	return o.result(ran, err)
}

// interrupt ends the wait, unless the command has begun.
func (o *onceRun) interrupt(cancel func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	select {
	case <-o.begun:
		return false
	default:
	}
	o.interrupted = true
	cancel()
	return true
}

// begin reports whether the command may begin: the wait was not over before.
func (o *onceRun) begin() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.interrupted || o.waited != nil && !o.waited.Stop() {
		return false
	}
	close(o.begun)
	return true
}

// run is what RunOnce runs.
func (o *onceRun) run(ctx context.Context) error {
	if !o.begin() {
		return context.DeadlineExceeded
	}
	l, _ := lease.FromContext(ctx)
	c, err := start(o.path, o.r.Command, o.r.environment(o.r.Key, l), o.signals)
	if err != nil {
		return cannotRun(o.r.Command[0], err)
	}
	if o.code, o.lost = o.r.watch(c, l, o.signals); o.lost != nil {
		return o.lost
	}
	if o.code != 0 {
		return failed(o.code, nil)
	}
	return nil
}

// result is what the program ends with.
func (o *onceRun) result(ran bool, err error) error {
	var code *exit
	switch {
	case err == nil:
		return nil
	case o.lost != nil: // said when it happened
		return failed(exitLost, nil)
	case errors.As(err, &code):
		return code
	case ran && o.code == 0 && !errors.Is(err, context.DeadlineExceeded): // it succeeded; that it may run again is worth a line
		complain(err)
		return nil
	case errors.Is(err, lock.ErrNoQuorum) && !errors.Is(err, lock.ErrNotAcquired):
		return err
	case errors.Is(err, lock.ErrNotAcquired), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		switch who := holder(err); {
		case who == "" && o.r.Wait != nil && !errors.Is(err, lock.ErrNotAcquired):
			err = fmt.Errorf("waited %v without success to learn whether %q is done: %w", *o.r.Wait, o.r.Key, err)
		case who != "":
			err = fmt.Errorf("%q is being done by %q; waited %v without success", o.r.Key, who, *o.r.Wait)
		}
		return failed(o.r.ConflictExitCode, err)
	}
	return err
}
