package main

import (
	"context"
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/lock"
)

// The library's defaults. A longer TTL would need a MaxTTL that every process
// on these nodes agrees on.
const (
	maxTTL      = 60 * time.Second
	nodeTimeout = 250 * time.Millisecond
)

// nodesAnswerWithin is the time within which healthy nodes answer.
const nodesAnswerWithin = 8 * nodeTimeout

// cleanupTimeout bounds the work after the command has ended, and after a
// signal ended the wait for the key.
const cleanupTimeout = 3 * time.Second

func openNodes(ctx context.Context, cfg cluster.Config, log *slog.Logger) (*cluster.Cluster, error) {
	cfg.Logger = log
	return cluster.Open(ctx, cfg)
}

// forever is the length of an unbounded wait.
const forever = 100 * 365 * 24 * time.Hour

// open is openNodes for a command that may wait: it retries until a quorum
// answers, at most for --wait. After nodesAnswerWithin it logs which nodes do
// not answer, and why, because a host's name may be misspelt.
func (f *runFlags) open(ctx context.Context, cfg cluster.Config, waits bool, log *slog.Logger) (*cluster.Cluster, error) {
	if !waits {
		return openNodes(ctx, cfg, log)
	}
	patience := forever
	if f.Wait != nil {
		patience = *f.Wait
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	early, stop := context.WithTimeout(ctx, nodesAnswerWithin)
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

// held holds everything that a command has opened.
type held struct {
	c      *cluster.Cluster
	keeper closer   // the Locker or Leases; nil if there is none yet
	lease  holding  // nil if there is none
	tokens []string // the environment variables of its tokens
}

// holding is a lease or several leases.
type holding interface {
	Context() context.Context
	Err() error
	Release(context.Context) error
}

type closer interface{ Close(context.Context) error }

// closeInTime closes a Locker or Leases. That fails only if the time-out passes
// first.
func closeInTime(c closer) {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	_ = c.Close(ctx)
}

// close releases the lease, closes the rest, and returns the error of the
// release.
func (h *held) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupTimeout)
	defer cancel()
	var err error
	if h.lease != nil {
		err = h.lease.Release(ctx)
	}
	if h.keeper != nil {
		_ = h.keeper.Close(ctx) // fails only if ctx ends
	}
	_ = h.c.Close(ctx)
	return err
}

// view is an opened set of nodes, however few of them answer.
type view struct {
	c      *cluster.Cluster
	locker *lock.Locker
}

// look runs fn on the nodes, however few of them answer. Its context ends when
// a signal arrives. The prefix may be empty.
func (f viewFlags) look(prefix string, fn func(ctx context.Context, v *view) error) error {
	return f.open(prefix, true, fn)
}

// open is look if partial is true. Otherwise it needs a quorum of the nodes,
// and bootstraps new ones.
func (f viewFlags) open(prefix string, partial bool, fn func(ctx context.Context, v *view) error) error {
	cfg, err := f.config()
	if err != nil {
		return err
	}
	ctx, stop := untilInterrupted()
	defer stop()
	cfg.Partial = partial
	c, err := openNodes(ctx, cfg, newLogger(true, false))
	if err != nil {
		return err
	}
	h := &held{c: c}
	defer h.close()
	locker, err := lock.New(c, lock.Config{Prefix: prefix})
	if err != nil {
		return err
	}
	h.keeper = locker
	err = fn(ctx, &view{c, locker})
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return failed(exitSignal+int(syscall.SIGINT), nil)
	}
	return err
}
