package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"strconv"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
)

type runCmd struct {
	Key     string   `arg:"" name:"KEY" help:"What to lock, as \"deploy\" or \"order:42\"."`
	Command []string `arg:"" passthrough:"partial" name:"CMD" help:"The command and its arguments, best after \"--\"."`

	jobFlags
	NoWait           bool          `xor:"wait" help:"Do not wait for the key."`
	Once             bool          `help:"Run CMD to success only once for each KEY, over all machines: when it has succeeded, do nothing and return 0. If it failed, the next call runs it again."`
	DoneTTL          time.Duration `name:"done-ttl" default:"24h" placeholder:"D" help:"With --once: how long it is remembered that KEY is done. Default ${default}."`
	Owner            string        `placeholder:"LABEL" help:"What others are told who has the lock. Default HOST:PID."`
	ConflictExitCode int           `short:"E" default:"75" placeholder:"N" help:"The exit code when somebody else has the key. Default ${default}."`
}

func (runCmd) Help() string {
	return `Best written as redlock run [flags] KEY -- CMD…, for example: redlock run --wait 1m deploy -- make deploy

CMD runs while KEY is held on a majority of the nodes, and sees REDLOCK_KEY and REDLOCK_TOKEN in its environment, ` +
		`but not REDLOCK_NODES, which may hold passwords (see --pass-nodes). ` +
		`The token only grows from one holder of a key to the next: hand it to the storage that CMD writes to, and let that refuse smaller ones. ` +
		`The lock is released when CMD ends, however it ends; what CMD leaves running in the background is not waited for.` + `

Standard input, output and error are CMD's. INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to CMD's process group; ` +
		`while the key is still waited for, they end the waiting.` + `

If the lock is lost, CMD's process group gets SIGTERM before anybody else can have the key, and SIGKILL after --grace. ` +
		`On Linux CMD is killed if redlock itself is killed. Where there are no process groups (Windows) CMD is killed at once when the lock is lost.` + `

Exit codes: CMD's own, 128+N if signal N killed CMD or came while waiting; ` +
		`2 the flags, KEY, nodes or credentials can not be used; 69 too few nodes answered or vote, with --wait until that was over; ` +
		`75 somebody else has the key (see --conflict-exit-code); 76 the lock was lost while CMD ran; ` +
		`126 CMD can not be executed; 127 CMD was not found.`
}

// check reports everything that is wrong with the flags.
func (r *runCmd) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if r.Key == "" {
		bad("KEY is empty; name what is to be locked, as order:42")
	}
	r.jobFlags.check(&r.Command, "redlock run KEY -- CMD…", bad)
	if r.ConflictExitCode < 0 || r.ConflictExitCode > 255 {
		bad("--conflict-exit-code %d: from 0 to 255", r.ConflictExitCode)
	}
	if r.Once && !r.waits() {
		bad("--once waits for a run that is under way, to see whether it succeeds; give --wait 10s to bound that, not --no-wait")
	}
	if r.DoneTTL < time.Second {
		bad("--done-ttl %v: too short; at least 1s", r.DoneTTL)
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
	cfg, err := r.config()
	if err != nil {
		return err
	}
	path, err := exec.LookPath(r.Command[0])
	if err != nil {
		return cannotRun(r.Command[0], err)
	}
	if r.Once {
		return r.runOnce(cfg, path)
	}
	return r.runHeld(r.Key, path, r.Command, func(ctx context.Context) (*held, error) { return r.acquire(ctx, cfg) })
}

func (r *runCmd) acquire(ctx context.Context, cfg cluster.Config) (*held, error) {
	log, begun := newLogger(r.Quiet, r.Verbose), time.Now()
	c, err := r.open(ctx, cfg, r.waits(), log)
	if err != nil {
		return nil, err
	}
	h := &held{c: c}
	locker, err := lock.New(c, lock.Config{TTL: r.TTL, Owner: r.Owner, Prefix: r.Prefix})
	if err == nil {
		h.keeper = locker
		h.lease, err = r.lock(ctx, locker, begun, log)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (r *runCmd) lock(ctx context.Context, locker *lock.Locker, begun time.Time, log *slog.Logger) (*lease.Lease, error) {
	l, err := locker.TryLock(ctx, r.Key)
	if r.waits() && (errors.Is(err, lock.ErrNotAcquired) || errors.Is(err, lock.ErrNoQuorum)) {
		log.Info("waiting for "+strconv.Quote(r.Key), "holder", holder(err))
		var opts []lock.Option
		if r.Wait != nil {
			opts = append(opts, lock.Wait(max(time.Millisecond, *r.Wait-time.Since(begun))))
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
		return fmt.Errorf("%q is held by %q; waited %v without success", r.Key, who, *r.Wait)
	}
	return err
}

// holder is the label that most nodes name as the key's holder, "" if none does.
func holder(err error) string {
	var e *lock.NotAcquiredError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Holder
}
