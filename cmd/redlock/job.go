package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

// jobFlags are those of every command that runs another one under a lease.
type jobFlags struct {
	nodesFlag
	Wait      *time.Duration `xor:"wait" placeholder:"D" help:"Wait at most this long for the lock, and for a quorum of the nodes, as 30s or 5m. Without it, for as long as it takes."`
	TTL       time.Duration  `name:"ttl" default:"10s" placeholder:"D" help:"How long the lock outlives a crash of this machine; it is renewed while CMD runs. Default ${default}, at most 60s."`
	Grace     time.Duration  `default:"5s" placeholder:"D" help:"When the lock is lost: how long after SIGTERM to send SIGKILL. Default ${default}."`
	Prefix    string         `default:"lock:" help:"What comes before all keys on the nodes. Default \"${default}\"."`
	PassNodes bool           `name:"pass-nodes" help:"Leave REDLOCK_NODES, which may hold passwords, in the environment of CMD: for one that uses redlock itself."`
	Verbose   bool           `short:"v" xor:"talk" help:"Say when the lock is waited for, taken and released."`
	Quiet     bool           `short:"q" xor:"talk" help:"Do not warn of nodes that are down."`
}

// check takes the "--" off the command and reports what is wrong with it and with the flags.
func (f *jobFlags) check(command *[]string, usage string, bad func(format string, args ...any)) {
	if len(*command) > 0 && (*command)[0] == "--" {
		*command = (*command)[1:]
	}
	if len(*command) == 0 {
		bad("no command, as in: %s", usage)
	}
	if f.Wait != nil && *f.Wait < 0 {
		bad("--wait %v: negative; without it, it waits for as long as it takes", *f.Wait)
	}
	if f.TTL > maxTTL {
		bad("--ttl %v: longer than %v, after which the nodes take every lock for gone; the lock is renewed while CMD runs, "+
			"so a short TTL does not limit it", f.TTL, maxTTL)
	}
	if f.TTL <= 3*nodeTimeout {
		bad("--ttl %v: too short to be kept alive; more than %v", f.TTL, 3*nodeTimeout)
	}
	if f.Grace < 0 {
		bad("--grace %v: negative; 0 kills at once", f.Grace)
	}
	if f.Prefix == "" {
		bad("--prefix: is empty")
	}
}

// The library's defaults. A longer TTL would need a MaxTTL that every process on these nodes agrees on.
const (
	maxTTL      = 60 * time.Second
	nodeTimeout = 250 * time.Millisecond
)

// cleanup bounds what is done after the command has ended, and after a signal ended the wait for the key.
const cleanup = 3 * time.Second

func openNodes(ctx context.Context, cfg cluster.Config, log *slog.Logger) (*cluster.Cluster, error) {
	cfg.Logger = log
	return cluster.Open(ctx, cfg)
}

// forever is how long a wait lasts that nobody bounds.
const forever = 100 * 365 * 24 * time.Hour

// open is openNodes for a command that waits: it goes on for as long as --wait
// says, or until a quorum answers. Once the nodes have had their time, it says
// which of them do not answer, and why: a host's name may be misspelt.
func (f *jobFlags) open(ctx context.Context, cfg cluster.Config, waits bool, log *slog.Logger) (*cluster.Cluster, error) {
	if !waits {
		return openNodes(ctx, cfg, log)
	}
	patience := forever
	if f.Wait != nil {
		patience = *f.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	early, stop := context.WithTimeout(ctx, soon)
	defer stop()
	c, err := openNodes(early, cfg, log)
	if err == nil || early.Err() == nil || ctx.Err() != nil {
		return c, err
	}
	var nodes []any
	var missing *cluster.QuorumError
	if errors.As(err, &missing) {
		for _, n := range missing.Nodes {
			nodes = append(nodes, n.Node, n.Err)
		}
	}
	log.Warn("waiting for a quorum of the nodes", nodes...)
	return openNodes(ctx, cfg, log)
}

// soon is within what time nodes that are well have answered.
const soon = 8 * nodeTimeout

// runHeld runs the command under the lease that acquire gets.
func (f *jobFlags) runHeld(key, path string, argv []string, acquire func(context.Context) (*held, error)) error {
	signals := notifySignals()
	h, err := take(signals, acquire)
	if err != nil {
		return err
	}
	select {
	case sig := <-signals: // it came while the lease did
		_ = h.close()
		return failed(exitSignal+number(sig), nil)
	default:
	}
	return f.underLease(h, key, path, argv, signals)
}

// held is a lease with what it stands on.
type held struct {
	c      *cluster.Cluster
	keeper interface{ Close(context.Context) error } // the Locker or Leases; nil if there is none yet
	lease  *lease.Lease
}

// take has acquire open the nodes and wait for the lease, until a signal comes.
func take(signals <-chan os.Signal, acquire func(context.Context) (*held, error)) (*held, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		h   *held
		err error
	}
	done := make(chan result, 1)
	go func() {
		h, err := acquire(ctx)
		done <- result{h, err}
	}()
	select {
	case got := <-done:
		return got.h, got.err
	case sig := <-signals:
		cancel()
		select {
		case got := <-done:
			if got.h != nil {
				got.h.close()
			}
		case <-time.After(cleanup):
		}
		return nil, failed(exitSignal+number(sig), nil)
	}
}

// close releases what is held and returns the release's error.
func (h *held) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	var err error
	if h.lease != nil {
		err = h.lease.Release(ctx)
	}
	if h.keeper != nil {
		_ = h.keeper.Close(ctx) // what it can fail with is that ctx ended
	}
	_ = h.c.Close(ctx)
	return err
}

// underLease runs the command, and releases the lease whatever happens to it.
func (f *jobFlags) underLease(h *held, key, path string, argv []string, signals chan os.Signal) error {
	log := newLogger(f.Quiet, f.Verbose)
	c, err := start(path, argv, f.environment(key, h.lease), signals)
	if err != nil {
		_ = h.close() // the command has not run: nothing depends on it
		return cannotRun(argv[0], err)
	}
	code, lost := f.watch(c, h.lease, signals)
	err = h.close()
	switch {
	case lost == nil && errors.Is(err, lock.ErrLost):
		lost = err
		complain(err)
	case lost == nil && err != nil:
		log.Warn("the release did not reach a quorum; the key expires", "key", key, "within", f.TTL, "error", err)
	case lost == nil:
		log.Info("released " + strconv.Quote(key))
	}
	if lost != nil {
		code = exitLost
	}
	if code == 0 {
		return nil
	}
	return failed(code, nil)
}

// environment is what the command sees: not the nodes, unless it is to use them.
func (f *jobFlags) environment(key string, l *lease.Lease) []string {
	env := os.Environ()
	if !f.PassNodes {
		env = slices.DeleteFunc(env, func(s string) bool { return strings.HasPrefix(strings.ToUpper(s), nodesVariable+"=") })
	}
	return append(env, "REDLOCK_KEY="+key, "REDLOCK_TOKEN="+strconv.FormatInt(l.Token(), 10))
}

// watch waits for the command's end. It passes signals on, and ends the command when the lock is lost.
func (f *jobFlags) watch(c *child, l *lease.Lease, signals <-chan os.Signal) (code int, lost error) {
	done := l.Done()
	var kill <-chan time.Time
	for {
		select {
		case <-done:
			c.terminate()
			done, lost, kill = nil, l.Err(), time.After(f.Grace)
			complain(fmt.Errorf("%w; ending the command", lost))
		case sig := <-signals:
			if lost != nil || l.Err() == nil { // a SIGCONT must not come before the SIGTERM of a loss
				c.signal(sig)
			}
		case <-kill:
			c.kill()
			kill = nil
		case why := <-c.stopped:
			if lost != nil || c.suspend(why) && l.Err() == nil { // if the lock was lost meanwhile, that wakes it
				c.resume()
			}
		case code = <-c.exited:
			c.reclaim()
			return code, f.afterExit(c, l, lost, kill)
		}
	}
}

// afterExit deals with what the command left behind: after a loss the rest of its process group has to end as well.
func (f *jobFlags) afterExit(c *child, l *lease.Lease, lost error, kill <-chan time.Time) error {
	if lost == nil && l.Err() != nil {
		lost = l.Err()
		c.terminate()
		kill = time.After(f.Grace)
		complain(fmt.Errorf("%w; the command has just ended by itself", lost))
	}
	if lost == nil {
		return nil
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for kill != nil && c.leftovers() {
		select {
		case <-look.C:
		case <-kill:
			c.kill()
			return lost
		}
	}
	return lost
}

// cannotRun is the error of a command that did not start, with the exit code that shells have for it.
func cannotRun(name string, err error) error {
	code, why := exitNoExec, err
	var e *exec.Error
	if errors.As(err, &e) {
		why = e.Err
	}
	var path *fs.PathError
	if errors.As(why, &path) {
		why = path.Err
	}
	switch {
	case errors.Is(err, exec.ErrNotFound):
		code, why = exitNotFound, errors.New("command not found")
	case errors.Is(err, fs.ErrNotExist) && strings.ContainsRune(name, os.PathSeparator):
		code = exitNotFound
	case errors.Is(err, exec.ErrDot):
		code, why = exitNotFound, fmt.Errorf("command not found on PATH, only in this folder; write .%c%s", os.PathSeparator, name)
	case errors.Is(err, fs.ErrNotExist):
		code = exitNotFound
	}
	return failed(code, fmt.Errorf("%s: %w", name, why))
}

// number is the signal's number, as shells count it in exit codes.
func number(sig os.Signal) int {
	if s, ok := sig.(syscall.Signal); ok {
		return int(s)
	}
	return 0
}
