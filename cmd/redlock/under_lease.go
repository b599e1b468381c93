package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// prepare returns what a command needs before it waits for its lease: the
// nodes, and the path of its program.
func (f *runFlags) prepare(argv []string) (cfg cluster.Config, path string, err error) {
	if cfg, err = f.config(); err != nil {
		return cfg, "", err
	}
	if path, err = exec.LookPath(argv[0]); err != nil {
		err = cannotRun(argv[0], err)
	}
	return cfg, path, err
}

// runHeld runs the command under the lease that acquire returns. name is how
// messages refer to the lease.
func (f *runFlags) runHeld(name, path string, argv []string, acquire func(context.Context) (*held, error)) error {
	signals := notifySignals()
	h, err := awaitLease(signals, acquire)
	if err != nil {
		return err
	}
	select {
	case sig := <-signals: // it arrived at the same time as the lease
		_ = h.close()
		return failed(exitSignal+signalNumber(sig), nil)
	default:
	}
	return f.underLease(h, name, path, argv, signals)
}

// awaitLease calls acquire, which opens the nodes and waits for the lease, and
// cancels it when a signal arrives.
func awaitLease(signals <-chan os.Signal, acquire func(context.Context) (*held, error)) (*held, error) {
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
		case <-time.After(cleanupTimeout):
		}
		return nil, failed(exitSignal+signalNumber(sig), nil)
	}
}

// underLease runs the command, and releases the lease whatever happens to it.
func (f *runFlags) underLease(h *held, name, path string, argv []string, signals chan os.Signal) error {
	log := newLogger(f.Quiet, f.Verbose)
	c, err := start(path, argv, f.environment(h.tokens), signals)
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
		log.Warn("the release of "+name+" did not reach a quorum; the lock expires", "within", f.TTL, "error", err)
	case lost == nil:
		log.Info("released " + name)
	}
	if lost != nil {
		code = exitLost
	}
	if code == 0 {
		return nil
	}
	return failed(code, nil)
}

// environment returns the command's environment: that of this process, with the
// command's tokens and without those of an enclosing redlock run. It contains
// the nodes only with --pass-nodes.
func (f *runFlags) environment(tokens []string) []string {
	env := slices.DeleteFunc(os.Environ(), func(s string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(s), "=")
		return name == "REDLOCK_KEY" || name == "REDLOCK_TOKEN" || name == "REDLOCK_TOKENS" || name == "REDLOCK_SLOT" || name == "REDLOCK_SHARED" ||
			strings.HasPrefix(name, "REDLOCK_TOKEN_") || strings.HasPrefix(name, "REDLOCK_SHARED_") || name == nodesVariable && !f.PassNodes
	})
	return append(env, tokens...)
}

// tokenOf returns the variables of a command that runs under one key.
func tokenOf(key string, token int64) []string {
	return []string{"REDLOCK_KEY=" + key, "REDLOCK_TOKEN=" + strconv.FormatInt(token, 10)}
}

// tokensOf returns the variables of a command that runs under keys. For several,
// REDLOCK_TOKEN_n has the token of the nth key, and REDLOCK_TOKENS has all of
// them as JSON, by key. REDLOCK_SHARED_n and REDLOCK_SHARED_KEYS say which of
// them are a reader's.
func tokensOf(keys []string, token func(key string) int64, shared func(key string) bool) []string {
	if len(keys) == 1 {
		all := tokenOf(keys[0], token(keys[0]))
		if shared(keys[0]) {
			all = append(all, "REDLOCK_SHARED=1")
		}
		return all
	}
	var tokens, marks, read []string
	byKey := map[string]int64{}
	for i, key := range keys {
		byKey[key] = token(key)
		tokens = append(tokens, fmt.Sprintf("REDLOCK_TOKEN_%d=%d", i+1, token(key)))
		if shared(key) {
			read = append(read, key)
			marks = append(marks, fmt.Sprintf("REDLOCK_SHARED_%d=1", i+1))
		}
	}
	all := append(tokens, jsonVariable("REDLOCK_TOKENS", byKey))
	if len(read) > 0 {
		all = append(append(all, marks...), jsonVariable("REDLOCK_SHARED_KEYS", read))
	}
	return all
}

func jsonVariable(name string, value any) string {
	text, _ := json.Marshal(value) // strings and numbers cannot fail
	return name + "=" + string(text)
}

// isReaders reports whether the environment, as tokensOf makes it, says that the
// token of key is a reader's.
func isReaders(key string, token int64) bool {
	if os.Getenv("REDLOCK_SHARED") == "1" {
		return os.Getenv("REDLOCK_KEY") == key && os.Getenv("REDLOCK_TOKEN") == strconv.FormatInt(token, 10)
	}
	var byKey map[string]int64
	var read []string
	name, _ := json.Marshal(key) // JSON has no name for some bytes
	if json.Unmarshal(name, &key) != nil || json.Unmarshal([]byte(os.Getenv("REDLOCK_TOKENS")), &byKey) != nil ||
		json.Unmarshal([]byte(os.Getenv("REDLOCK_SHARED_KEYS")), &read) != nil {
		return false
	}
	return byKey[key] == token && slices.Contains(read, key)
}

// watch waits for the command to end. It passes signals on, and ends the
// command when the lock is lost.
func (f *runFlags) watch(c *child, l holding, signals <-chan os.Signal) (code int, lost error) {
	done := l.Context().Done()
	var kill <-chan time.Time
	for {
		select {
		case <-done:
			c.terminate()
			done, lost, kill = nil, l.Err(), time.After(f.Grace)
			complain(fmt.Errorf("%w; ending the command", lost))
		case sig := <-signals:
			if lost != nil || l.Err() == nil { // a SIGCONT must not arrive before the SIGTERM of a loss
				c.signal(sig)
			}
		case <-kill:
			c.kill()
			kill = nil
		case why := <-c.stopped:
			if lost != nil || c.suspend(why) && l.Err() == nil { // the SIGTERM of a loss resumes it anyway
				c.resume()
			}
		case code = <-c.exited:
			c.reclaim()
			return code, f.afterExit(c, l, lost, kill)
		}
	}
}

// afterExit waits, after a loss, until the rest of the command's process group
// has ended, and kills it after --grace.
func (f *runFlags) afterExit(c *child, l holding, lost error, kill <-chan time.Time) error {
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

// cannotRun returns the error of a command that did not start, with the exit
// code that a shell would use.
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
