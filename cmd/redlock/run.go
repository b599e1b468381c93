package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

type runCmd struct {
	Key     string   `arg:"" name:"KEY" help:"What to lock, as \"deploy\" or \"order:42\"."`
	Command []string `arg:"" passthrough:"partial" name:"CMD" help:"The command and its arguments, best after \"--\"."`

	nodesFlag
	Wait             *time.Duration `xor:"wait" placeholder:"D" help:"Wait at most this long for the key, as 30s or 5m. Without it, until it is free."`
	NoWait           bool           `xor:"wait" help:"Do not wait for the key."`
	TTL              time.Duration  `name:"ttl" default:"10s" placeholder:"D" help:"How long the lock outlives a crash of this machine; it is renewed while CMD runs. Default ${default}, at most 60s."`
	Grace            time.Duration  `default:"5s" placeholder:"D" help:"When the lock is lost: how long after SIGTERM to send SIGKILL. Default ${default}."`
	Owner            string         `placeholder:"LABEL" help:"What others are told who has the lock. Default HOST:PID."`
	Prefix           string         `default:"lock:" help:"What comes before KEY on the nodes. Default \"${default}\"."`
	ConflictExitCode int            `short:"E" default:"75" placeholder:"N" help:"The exit code when somebody else has the key. Default ${default}."`
	Verbose          bool           `short:"v" xor:"talk" help:"Say when the lock is waited for, taken and released."`
	Quiet            bool           `short:"q" xor:"talk" help:"Do not warn of nodes that are down."`
}

func (runCmd) Help() string {
	return `Best written as redlock run [flags] KEY -- CMD…, for example: redlock run --wait 1m deploy -- make deploy

CMD runs while KEY is held on a majority of the nodes, and sees REDLOCK_KEY and REDLOCK_TOKEN in its environment. ` +
		`The token only grows from one holder of a key to the next: hand it to the storage that CMD writes to, and let that refuse smaller ones. ` +
		`The lock is released when CMD ends, however it ends; what CMD leaves running in the background is not waited for.` + `

Standard input, output and error are CMD's. INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to CMD's process group; ` +
		`while the key is still waited for, they end the waiting.` + `

If the lock is lost, CMD's process group gets SIGTERM before anybody else can have the key, and SIGKILL after --grace. ` +
		`On Linux CMD is killed if redlock itself is killed. Where there are no process groups (Windows) CMD is killed at once when the lock is lost.` + `

Exit codes: CMD's own, 128+N if signal N killed CMD or came while waiting; ` +
		`2 the flags, nodes or credentials can not be used; 69 too few nodes answered; ` +
		`75 somebody else has the key (see --conflict-exit-code); 76 the lock was lost while CMD ran; ` +
		`126 CMD can not be executed; 127 CMD was not found.`
}

// The library's defaults. A longer TTL would need a MaxTTL that every process on these nodes agrees on.
const (
	maxTTL      = 60 * time.Second
	nodeTimeout = 250 * time.Millisecond
)

// cleanup bounds what is done after the command has ended, and after a signal ended the wait for the key.
const cleanup = 3 * time.Second

// check reports everything that is wrong with the flags.
func (r *runCmd) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(r.Command) > 0 && r.Command[0] == "--" {
		r.Command = r.Command[1:]
	}
	if len(r.Command) == 0 {
		bad("no command after KEY, as in: redlock run KEY -- CMD…")
	}
	if r.Key == "" {
		bad("KEY is empty; name what is to be locked, as order:42")
	}
	if r.Wait != nil && *r.Wait < 0 {
		bad("--wait %v: negative; --no-wait makes one attempt, and without either it waits until the key is free", *r.Wait)
	}
	if r.TTL > maxTTL {
		bad("--ttl %v: longer than %v, after which the nodes take every lock for gone; the lock is renewed while CMD runs, "+
			"so a short TTL does not limit it", r.TTL, maxTTL)
	}
	if r.TTL <= 3*nodeTimeout {
		bad("--ttl %v: too short to be kept alive; more than %v", r.TTL, 3*nodeTimeout)
	}
	if r.Grace < 0 {
		bad("--grace %v: negative; 0 kills at once", r.Grace)
	}
	if r.ConflictExitCode < 0 || r.ConflictExitCode > 255 {
		bad("--conflict-exit-code %d: from 0 to 255", r.ConflictExitCode)
	}
	if r.Prefix == "" {
		bad("--prefix: is empty")
	}
	if len(errs) > 0 {
		return failed(exitUsage, errors.Join(errs...))
	}
	return nil
}

func (r *runCmd) Run() error {
	if err := r.check(); err != nil {
		return err
	}
	urls, err := r.urls()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(r.Command[0])
	if err != nil {
		return cannotRun(r.Command[0], err)
	}
	signals := notifySignals()
	h, err := r.take(urls, signals)
	if err != nil {
		return err
	}
	select {
	case sig := <-signals: // it came while the key did
		h.close()
		return failed(exitSignal+number(sig), nil)
	default:
	}
	return r.underLock(h, path, signals)
}

// held is the lock with what it stands on.
type held struct {
	c      *cluster.Cluster
	locker *lock.Locker
	lease  *lease.Lease
}

// take opens the nodes and waits for the key, until a signal comes.
func (r *runCmd) take(urls []string, signals <-chan os.Signal) (*held, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		h   *held
		err error
	}
	done := make(chan result, 1)
	go func() {
		h, err := r.acquire(ctx, urls)
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

func (r *runCmd) acquire(ctx context.Context, urls []string) (*held, error) {
	log := newLogger(r.Quiet, r.Verbose)
	c, err := cluster.Open(ctx, cluster.Config{URLs: urls, MaxTTL: maxTTL, NodeTimeout: nodeTimeout, Logger: log})
	if err != nil {
		return nil, err
	}
	h := &held{c: c}
	h.locker, err = lock.New(c, lock.Config{TTL: r.TTL, Owner: r.Owner, Prefix: r.Prefix})
	if err == nil {
		h.lease, err = r.lock(ctx, h.locker, log)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (r *runCmd) lock(ctx context.Context, locker *lock.Locker, log *slog.Logger) (*lease.Lease, error) {
	begun := time.Now()
	l, err := locker.TryLock(ctx, r.Key)
	if errors.Is(err, lock.ErrNotAcquired) && r.waits() {
		log.Info("waiting for "+strconv.Quote(r.Key), "holder", holder(err))
		var opts []lock.Option
		if r.Wait != nil {
			opts = append(opts, lock.Wait(*r.Wait))
		}
		l, err = locker.Lock(ctx, r.Key, opts...)
	}
	switch {
	case err == nil:
		log.Info("acquired "+strconv.Quote(r.Key), "token", l.Token(), "after", time.Since(begun).Round(time.Millisecond))
		return l, nil
	case ctx.Err() != nil:
		return nil, err // a signal came; whose the key is does not matter then
	case errors.Is(err, lock.ErrNotAcquired):
		return nil, failed(r.ConflictExitCode, r.conflict(err))
	}
	return nil, err
}

func (r *runCmd) waits() bool { return !r.NoWait && (r.Wait == nil || *r.Wait > 0) }

// conflict says who has the key, where that is known.
func (r *runCmd) conflict(err error) error {
	who := holder(err)
	switch {
	case who == "":
		return err
	case !r.waits():
		return fmt.Errorf("%q is held by %q; not waiting for it", r.Key, who)
	case r.Wait != nil:
		return fmt.Errorf("%q is held by %q; waited %v in vain", r.Key, who, *r.Wait)
	}
	return err
}

// holder is the label that most nodes name as the key's holder, "" if none does.
func holder(err error) string {
	var e *lock.NotAcquiredError
	if !errors.As(err, &e) {
		return ""
	}
	most, count := "", map[string]int{}
	for _, a := range e.Answers {
		if a.Holder == "" {
			continue
		}
		if count[a.Holder]++; count[a.Holder] > count[most] {
			most = a.Holder
		}
	}
	return most
}

// close releases what is held and returns the release's error.
func (h *held) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	var err error
	if h.lease != nil {
		err = h.lease.Release(ctx)
	}
	if h.locker != nil {
		_ = h.locker.Close(ctx) // what it can fail with is that ctx ended
	}
	_ = h.c.Close(ctx)
	return err
}

// underLock runs the command, and releases the lock whatever happens to it.
func (r *runCmd) underLock(h *held, path string, signals chan os.Signal) error {
	log := newLogger(r.Quiet, r.Verbose)
	c, err := start(path, r.Command, append(os.Environ(),
		"REDLOCK_KEY="+r.Key, "REDLOCK_TOKEN="+strconv.FormatInt(h.lease.Token(), 10)), signals)
	if err != nil {
		_ = h.close() // the command has not run: nothing depends on it
		return cannotRun(r.Command[0], err)
	}
	code, lost := r.watch(c, h.lease, signals)
	err = h.close()
	switch {
	case lost == nil && errors.Is(err, lock.ErrLost):
		lost = err
		complain(err)
	case lost == nil && err != nil:
		log.Warn("the release did not reach a quorum; the key expires", "key", r.Key, "within", r.TTL, "error", err)
	case lost == nil:
		log.Info("released " + strconv.Quote(r.Key))
	}
	if lost != nil {
		code = exitLost
	}
	if code == 0 {
		return nil
	}
	return failed(code, nil)
}

// watch waits for the command's end. It passes signals on, and ends the command when the lock is lost.
func (r *runCmd) watch(c *child, l *lease.Lease, signals <-chan os.Signal) (code int, lost error) {
	done := l.Done()
	var kill <-chan time.Time
	for {
		select {
		case <-done:
			c.terminate()
			done, lost, kill = nil, l.Err(), time.After(r.Grace)
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
			return code, r.afterExit(c, l, lost, kill)
		}
	}
}

// afterExit deals with what the command left behind: after a loss the rest of its process group has to end as well.
func (r *runCmd) afterExit(c *child, l *lease.Lease, lost error, kill <-chan time.Time) error {
	if lost == nil && l.Err() != nil {
		lost = l.Err()
		c.terminate()
		kill = time.After(r.Grace)
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
