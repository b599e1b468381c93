package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

type runCmd struct {
	Key     string   `arg:"" name:"KEY" help:"What to lock, such as \"deploy\" or \"order:42\". Name more keys before \"--\" to lock all of them."`
	Command []string `arg:"" passthrough:"partial" name:"CMD" help:"The command and its arguments, best after \"--\"."`

	keys []string // Key, and the words of Command that are keys
	all  []string // keys, then those of Read

	runFlags
	NoWait           bool          `xor:"wait" help:"Do not wait for the key."`
	Shared           bool          `help:"Lock every KEY for reading: other readers (--shared or --read) can hold it too, writers cannot."`
	Read             []string      `sep:"none" placeholder:"KEY" help:"Lock this key as well, for reading. Repeat the flag for more keys."`
	Once             bool          `help:"Run CMD unless a run for KEY has already succeeded on any machine. If one has, do nothing and exit with 0."`
	DoneTTL          time.Duration `name:"done-ttl" default:"24h" placeholder:"D" help:"With --once: how long to remember that KEY is done. Default ${default}."`
	Limit            *int          `placeholder:"N" help:"Let up to N commands (1 to 1024) hold KEY at once, across all machines. Each has a slot, whose number is in REDLOCK_SLOT. All callers must give the same N."`
	Owner            string        `placeholder:"LABEL" help:"The label by which others see who holds the lock. Default HOST:PID."`
	ConflictExitCode int           `short:"E" default:"75" placeholder:"N" help:"The exit code when another process holds the key. Default ${default}."`
}

func (runCmd) Help() string {
	return `Best written as redlock run [flags] KEY… -- CMD…, for example: redlock run --wait 1m deploy -- make deploy

CMD runs while KEY is held on a majority of the nodes, and sees REDLOCK_KEY and REDLOCK_TOKEN in its environment, ` +
		`but not REDLOCK_NODES, which may hold passwords (see --pass-nodes). ` +
		`The token only grows from one holder of a key to the next: pass it to the storage that CMD writes to, which must refuse smaller ones. ` +
		`The lock is released when CMD ends, however it ends; processes that CMD leaves in the background are not waited for.` + `

With --limit 4, up to four hold KEY at once, and CMD sees in REDLOCK_SLOT which of the slots, 0 to 3, is its own: ` +
		`redlock run --limit 4 gpu -- ./train. While a slot is taken, callers that give a different --limit are refused.

With several keys, as in redlock run account:7 account:3 -- ./transfer, CMD runs while all of them are held. Their tokens are in ` +
		`REDLOCK_TOKEN_1, REDLOCK_TOKEN_2 and so on, in the order of the keys, and in REDLOCK_TOKENS as a JSON object by key. ` +
		`Flags of redlock go before the keys. Words before the first "--" are keys. If one of them begins with "-", only the first word is a key. ` +
		`So if CMD has a "--" among its own arguments, put another "--" before CMD. ` +
		`Any key but the first is refused if it is also the name of a program, because it may begin the command. ` +
		`With --no-wait, concurrent runs for the same keys may all be refused.` + `

With --shared, CMD only reads. All commands with --shared hold KEY together; a command without it waits until they have ended. ` +
		`A command that waits without --shared is served before those that ask with --shared later. ` +
		`The token of a reader is at least that of every earlier command without --shared, and below that of every later one. ` +
		`With several keys, --shared reads all of them. To read only some, name those with --read. For example, redlock run --read rates --read limits account:7 -- ./book ` +
		`locks account:7 exclusively, and rates and limits for reading. In REDLOCK_TOKEN_N, keys given with --read come after the KEYs. ` +
		`REDLOCK_SHARED is 1 if the token of the one KEY is a reader's. With several keys, REDLOCK_SHARED_2 is 1 if REDLOCK_TOKEN_2 is a reader's, and REDLOCK_SHARED_KEYS is a JSON array of the keys that are read. ` +
		`CMD checks such a token with redlock fence check --read.` + `

Standard input, output and error are CMD's. INT, TERM, HUP, QUIT, USR1 and USR2 are passed on to CMD's process group; ` +
		`before the key is acquired, they end the wait.` + `

If the lock is lost, CMD's process group gets SIGTERM before another process can acquire the key, and SIGKILL after --grace. ` +
		`On Linux CMD is killed if redlock itself is killed. Where there are no process groups (Windows) CMD is killed at once when the lock is lost.` + `

Exit codes: CMD's own, 128+N if signal N killed CMD or arrived before the key was acquired; ` +
		`2 the flags, KEY, nodes or credentials cannot be used; 69 too few nodes answered or voted (with --wait, for all that time); ` +
		`75 another process holds the key (see --conflict-exit-code); 76 the lock was lost while CMD ran; ` +
		`126 CMD cannot be executed; 127 CMD was not found.`
}

// check reports everything that is wrong with the flags.
func (r *runCmd) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	r.splitKeys()
	r.checkKeys(bad)
	r.checkModes(bad)
	r.runFlags.check(&r.Command, "redlock run KEY -- CMD…", bad)
	if r.ConflictExitCode < 0 || r.ConflictExitCode > 255 {
		bad("--conflict-exit-code %d: must be from 0 to 255", r.ConflictExitCode)
	}
	if r.Once && !r.waits() {
		bad("--once must wait for a run in progress, to see whether it succeeds; give --wait 10s to bound that, not --no-wait or --wait 0")
	}
	if r.DoneTTL < time.Second {
		bad("--done-ttl %v: must be at least 1s", r.DoneTTL)
	}
	if len(errs) > 0 {
		return failed(exitUsage, errors.Join(errs...))
	}
	return nil
}

// checkKeys reports keys that cannot be locked, or cannot be locked together.
func (r *runCmd) checkKeys(bad func(format string, args ...any)) {
	if slices.Contains(r.keys, "") {
		bad("KEY is empty; name what to lock, such as order:42")
	}
	if slices.Contains(r.Read, "") {
		bad("--read is empty; name a key, such as --read rates")
	}
	for _, key := range r.Read {
		if slices.Contains(r.keys, key) {
			bad("--read %q: is also given as KEY; name it once, as KEY to write it or with --read to read it", key)
		}
	}
	if n := len(r.all); n > lock.MaxKeys {
		bad("KEY and --read: %d keys; name at most %d", n, lock.MaxKeys)
	}
	if i := slices.Index(os.Args, "--"); len(r.Read) > 0 && i >= 0 && !slices.Contains(os.Args[:i], r.Key) {
		bad("KEY is missing before --; to read only, use --shared KEY instead of --read")
	}
	for _, key := range r.keys[1:] {
		if _, err := exec.LookPath(key); err == nil {
			bad("KEY %q is the name of a program. If it begins the command, put -- before it: redlock run KEY -- %s …; if it is a key, name it first", key, key)
			break
		}
	}
}

// checkModes reports flags that cannot be combined, and a --limit out of range.
func (r *runCmd) checkModes(bad func(format string, args ...any)) {
	several := len(r.all) > 1
	if r.Limit != nil && (*r.Limit < 1 || *r.Limit > lock.MaxLimit) {
		bad("--limit %d: must be from 1 to %d", *r.Limit, lock.MaxLimit)
	}
	if r.Limit != nil && (r.Once || r.Shared || several) {
		bad("--limit: use it with one KEY, and without --once, --shared or --read")
	}
	if r.Once && several { // --read also names keys
		bad("--once: takes one KEY and no --read; you named %d keys", len(r.all))
	}
	if r.Shared && r.Once {
		bad("--shared, --once: give one of them; a job that runs once needs KEY exclusively")
	}
	if r.Shared && len(r.Read) > 0 {
		bad("--read with --shared: --shared reads every KEY; name all keys as KEY, or leave out --shared to write KEY")
	}
}

// splitKeys moves the words before "--" from Command to keys, without
// duplicates. If one of them begins with "-", they belong to the command and
// stay.
func (r *runCmd) splitKeys() {
	r.keys = []string{r.Key}
	n := slices.Index(r.Command, "--")
	if n > 0 && !slices.ContainsFunc(r.Command[:n], func(word string) bool { return strings.HasPrefix(word, "-") }) {
		for _, key := range r.Command[:n] {
			if !slices.Contains(r.keys, key) {
				r.keys = append(r.keys, key)
			}
		}
		r.Command = r.Command[n:]
	}
	r.all = slices.Clone(r.keys)
	for _, key := range r.Read {
		if !slices.Contains(r.all, key) {
			r.all = append(r.all, key)
		}
	}
}

// reads reports whether a key is held together with others that read it.
func (r *runCmd) reads(key string) bool { return r.Shared || slices.Contains(r.Read, key) }

// quoted formats the keys for a message.
func (r *runCmd) quoted() string {
	all := make([]string, len(r.all))
	for i, key := range r.all {
		all[i] = strconv.Quote(key)
	}
	return strings.Join(all, ", ")
}

func (r *runCmd) Run() error {
	if err := r.check(); err != nil {
		return err
	}
	cfg, path, err := r.prepare(r.Command)
	if err != nil {
		return err
	}
	if r.Once {
		return r.runOnce(cfg, path)
	}
	return r.runHeld(r.quoted(), path, r.Command, func(ctx context.Context) (*held, error) { return r.acquire(ctx, cfg) })
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
		err = r.lock(ctx, locker, h, begun, log)
	}
	if err != nil {
		h.close()
		return nil, err
	}
	return h, nil
}

func (r *runCmd) lock(ctx context.Context, locker *lock.Locker, h *held, begun time.Time, log *slog.Logger) error {
	if r.Limit != nil {
		return r.lockSlot(ctx, locker, h, begun, log)
	}
	l, err := r.ask(ctx, locker, lock.NoWait())
	if r.waits() && (errors.Is(err, lock.ErrNotAcquired) || errors.Is(err, lock.ErrNoQuorum)) {
		log.Info("waiting for "+r.quoted(), "holder", holder(err))
		var opts []lock.Option
		if r.Wait != nil {
			opts = append(opts, lock.Wait(max(time.Millisecond, *r.Wait-time.Since(begun))))
		}
		l, err = r.ask(ctx, locker, opts...)
	}
	if err != nil {
		return r.refused(ctx, err)
	}
	h.lease, h.tokens = l, tokensOf(r.all, l.Token, r.reads)
	after := time.Since(begun).Round(time.Millisecond)
	if len(r.all) == 1 {
		log.Info("acquired "+r.quoted(), "token", l.Token(r.Key), "after", after)
	} else {
		log.Info("acquired "+r.quoted(), "tokens", h.tokens[:len(r.all)], "after", after)
	}
	return nil
}

// lockSlot is lock for a key that several hold at once.
func (r *runCmd) lockSlot(ctx context.Context, locker *lock.Locker, h *held, begun time.Time, log *slog.Logger) error {
	l, err := locker.TryLock(ctx, r.Key, lock.Limit(*r.Limit))
	if r.waits() && (errors.Is(err, lock.ErrNotAcquired) || errors.Is(err, lock.ErrNoQuorum)) {
		log.Info("waiting for a slot of "+r.quoted(), "holder", holder(err))
		opts := []lock.Option{lock.Limit(*r.Limit)}
		if r.Wait != nil {
			opts = append(opts, lock.Wait(max(time.Millisecond, *r.Wait-time.Since(begun))))
		}
		l, err = locker.Lock(ctx, r.Key, opts...)
	}
	if err != nil {
		return r.refused(ctx, err)
	}
	h.lease, h.tokens = l, append(tokenOf(r.Key, l.Token()), "REDLOCK_SLOT="+strconv.Itoa(l.Slot()))
	log.Info("acquired "+r.quoted(), "slot", l.Slot(), "token", l.Token(), "after", time.Since(begun).Round(time.Millisecond))
	return nil
}

// refused is the error of a lock that was not acquired.
func (r *runCmd) refused(ctx context.Context, err error) error {
	if ctx.Err() == nil && errors.Is(err, lock.ErrNotAcquired) { // after a signal the holder does not matter
		return failed(r.ConflictExitCode, r.conflict(err))
	}
	return err
}

// ask locks the keys, each in its mode.
func (r *runCmd) ask(ctx context.Context, locker *lock.Locker, opts ...lock.Option) (*lock.Locks, error) {
	if r.Shared {
		return locker.LockAll(ctx, nil, append(opts, lock.SharedKeys(r.keys...))...)
	}
	return locker.LockAll(ctx, r.keys, append(opts, lock.SharedKeys(r.Read...))...)
}

func (r *runCmd) waits() bool { return !r.NoWait && (r.Wait == nil || *r.Wait > 0) }

// conflict names the key that is held, and its holder, if that is known.
func (r *runCmd) conflict(err error) error {
	var e *lock.NotAcquiredError
	switch {
	case !errors.As(err, &e) || e.Holder == "":
		return err
	case r.Limit != nil:
		return err
	case !r.waits():
		return fmt.Errorf("%q is held by %q; not waiting for it", e.Key, e.Holder)
	case r.Wait != nil:
		return fmt.Errorf("%q is held by %q; waited %v without success", e.Key, e.Holder, *r.Wait)
	}
	return err
}

// holder returns the label of the key's holder that most nodes report, or "" if
// it is not known.
func holder(err error) string {
	var e *lock.NotAcquiredError
	if !errors.As(err, &e) {
		return ""
	}
	return e.Holder
}
