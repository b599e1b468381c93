package redlock_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/marks"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
	"github.com/venta-hq/redlock/lock"
	"github.com/venta-hq/redlock/session"
)

// resizedSet is nodes of which some are a set, which is resized.
type resizedSet struct {
	t       *testing.T
	nodes   harness.Set
	list    []int
	records time.Duration // how long programs keep them, by Resize.Records
}

func (s *resizedSet) config(list []int) cluster.Config {
	urls := s.nodes.URLs()
	cfg := cluster.Config{MaxTTL: 2 * time.Second, NodeTimeout: 400 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)}
	for _, i := range list {
		cfg.URLs = append(cfg.URLs, urls[i])
	}
	return cfg
}

// change makes changes like "+3" and "-0", in order, with no program connected.
func (s *resizedSet) change(changes string) {
	s.t.Helper()
	for _, c := range strings.Fields(changes) {
		err := s.tryChange(s.t.Context(), c, func(string, ...any) {})
		if err != nil {
			s.t.Fatalf("%s: %v", c, err)
		}
	}
}

func (s *resizedSet) tryChange(ctx context.Context, c string, say func(format string, args ...any)) error {
	i := int(c[1] - '0')
	add, remove := "", ""
	if url := s.nodes.URLs()[i]; c[0] == '+' {
		add = url
	} else {
		remove = strings.TrimPrefix(url, "redis://")
	}
	tool, err := nodeset.NewResize(nodeset.Config(s.config(s.list)), add, remove, say)
	if err != nil {
		return err
	}
	defer tool.Close()
	tool.Records = s.records
	if err := tool.Run(ctx); err != nil {
		return err
	}
	if c[0] == '+' {
		s.list = append(s.list, i)
	} else {
		s.list = slices.DeleteFunc(s.list, func(j int) bool { return j == i })
	}
	return nil
}

// keeper is a program that keeps something of each kind.
type keeper struct {
	s        *resizedSet
	c        *cluster.Cluster
	locker   *lock.Locker
	leases   *lease.Leases
	sessions *session.Store
}

// program is a new one, with the list of the set. It opens while all nodes
// answer.
func (s *resizedSet) program() *keeper {
	s.t.Helper()
	began := time.Now()
	c, err := cluster.Open(s.t.Context(), s.config(s.list))
	harness.Must(s.t, began, err)
	p := &keeper{s: s, c: c}
	if p.locker, err = lock.New(c, lock.Config{TTL: 2 * time.Second}); err != nil {
		s.t.Fatal(err)
	}
	if p.leases, err = lease.New(c, lease.Config{TTL: 2 * time.Second}); err != nil {
		s.t.Fatal(err)
	}
	if p.sessions, err = session.New(c, session.Config{}); err != nil {
		s.t.Fatal(err)
	}
	_, _ = p.sessions.Load(s.t.Context(), strings.Repeat("A", 43)) // it learns how old the sessions of each node are
	return p
}

func (p *keeper) end() {
	p.s.t.Helper()
	p.sessions.Close()
	ctx := context.Background()
	_ = p.locker.Close(ctx)
	_ = p.leases.Close(ctx)
	_ = p.c.Close(ctx)
}

// kept is what was acknowledged.
type kept struct {
	session   string
	destroyed string // a session from before, which was ended
	token     int64
}

// write has something of each kind acknowledged, which only the nodes of on
// have afterwards, as if the others had been unreachable.
func (s *resizedSet) write(on []int, doomed string) (k kept) {
	s.t.Helper()
	p := s.program()
	ctx, began := s.t.Context(), time.Now()
	harness.Must(s.t, began, p.sessions.Destroy(ctx, doomed))
	k.destroyed = doomed
	l, err := p.leases.Acquire(ctx, "job")
	harness.Must(s.t, began, err)
	harness.Must(s.t, began, l.Checkpoint(ctx, []byte("half")))
	harness.Must(s.t, began, l.Release(ctx))
	k.token, err = p.token(ctx)
	harness.Must(s.t, began, err)
	_, err = p.leases.RunOnce(ctx, "report", func(context.Context) error { return nil })
	harness.Must(s.t, began, err)
	u, err := p.sessions.Create(ctx, "user", nil)
	harness.Must(s.t, began, err)
	k.session = u.ID()
	p.end() // nothing is on its way any more
	for _, i := range s.list {
		if slices.Contains(on, i) {
			continue
		}
		for _, key := range harness.Keys(s.t, s.nodes, i) {
			if key != marks.Key && key != "session:memory" {
				harness.Must(s.t, began, harness.Client(s.t, s.nodes, i).Del(ctx, key).Err())
			}
		}
	}
	return k
}

// without cuts nodes off while fn runs.
func (s *resizedSet) without(cut []int, fn func()) {
	for _, i := range cut {
		s.nodes.Pause(i)
	}
	fn()
	for _, i := range cut {
		s.nodes.Resume(i)
	}
}

// finding is what a reader makes of what was acknowledged.
type finding string

const (
	found   finding = "found"
	unknown finding = "an error"
	lost    finding = "lost"
)

func findingOf(ok bool, err error) finding {
	switch {
	case err != nil:
		return unknown
	case ok:
		return found
	}
	return lost
}

// token is the next one of a key.
func (p *keeper) token(ctx context.Context) (token int64, err error) {
	err = p.locker.WithLock(ctx, "count", func(ctx context.Context) error {
		token, _ = lock.Token(ctx)
		return nil
	})
	return token, err
}

// read looks for everything that was acknowledged.
func (p *keeper) read(k kept) map[string]finding {
	ctx, cancel := context.WithTimeout(p.s.t.Context(), 3*time.Second)
	defer cancel()
	all := map[string]finding{}
	_, ok, err := p.leases.Outcome(ctx, "report")
	all["outcome"] = findingOf(ok, err)
	_, err = p.sessions.Load(ctx, k.session)
	gone := errors.Is(err, session.ErrSessionGone)
	if gone {
		err = nil
	}
	all["session"] = findingOf(!gone, err)
	_, err = p.sessions.Load(ctx, k.destroyed)
	gone = errors.Is(err, session.ErrSessionGone)
	if gone {
		err = nil
	}
	all["end of a session"] = findingOf(gone, err)
	token, err := p.token(ctx)
	all["token"] = findingOf(token > k.token, err)
	l, err := p.leases.Acquire(ctx, "job")
	if err != nil {
		all["checkpoint"] = unknown
		return all
	}
	data, _, ok := l.LastCheckpoint()
	all["checkpoint"] = findingOf(ok && string(data) == "half", nil)
	_ = l.Release(context.WithoutCancel(ctx))
	return all
}

var resizeCases = []struct {
	name   string
	size   int    // of the set at first
	before string // changes before anything is written
	on     []int  // nodes that have what is written
	after  string // changes after it
	cut    []int  // nodes that the reader cannot reach
}{
	{"three from one", 1, "", []int{0}, "+1 +2", []int{0}},
	{"five from three", 3, "", []int{0, 1}, "+3 +4", []int{0, 1}},
	{"another in place of one", 3, "", []int{0, 2}, "-2 +3", []int{0}},
	{"one after another was added", 3, "", []int{0, 1}, "+3 -0", []int{1}},
	{"two that were nodes before", 5, "-4 -3", []int{0, 1}, "+3 +4", []int{0, 1}},
	{"three of five stay, and two are added", 5, "", []int{0, 1, 2}, "-0 +5", []int{1, 2}},
}

// Whatever a resize makes of the nodes, a reader finds what was acknowledged, or
// learns that it cannot know, and its token is not below an earlier one.
func TestResize_WhatWasAcknowledgedIsNotReportedMissing(t *testing.T) {
	t.Parallel()
	for _, tt := range resizeCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &resizedSet{t: t, nodes: harness.Embedded(t, 6)}
			for i := range tt.size {
				s.list = append(s.list, i)
			}
			first := s.program() // it makes them a set
			began := time.Now()
			doomed, err := first.sessions.Create(t.Context(), "user", nil)
			harness.Must(t, began, err)
			first.end()
			s.change(tt.before)
			k := s.write(tt.on, doomed.ID())
			s.change(tt.after)
			p := s.program()
			defer p.end()
			s.without(tt.cut, func() {
				for kind, got := range p.read(k) {
					if got == lost || kind == "token" && got != found {
						t.Errorf("without nodes %v: the %s is %s", tt.cut, kind, got)
					}
				}
			})
			for _, n := range tt.cut {
				harness.Eventually(t, "the node is back", func() bool { return p.c.Status()[slices.Index(s.list, n)].Up })
			}
			for kind, got := range p.read(k) {
				if got != found {
					t.Errorf("with all nodes: the %s is %s", kind, got)
				}
			}
		})
	}
}

// Where the last copy of something may be on the node to be removed, the resize
// waits, and has changed nothing.
func TestResize_WaitsForRecordsBeforeItRemovesTheLastCopy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		size   int
		before string
		change string
		waits  bool
	}{
		{"the first removal", 3, "", "-0", false},
		{"another is added", 3, "-0", "+3", false},
		{"another was added", 3, "+3", "-0", false},
		{"two are replaced", 3, "-0 +3", "-1", true},
		{"three from five", 5, "-0", "-1", true},
		{"the first of three", 1, "+1 +2", "-0", true},
		{"not the first of three", 1, "+1 +2", "-1", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &resizedSet{t: t, nodes: harness.Embedded(t, 6)}
			for i := range tt.size {
				s.list = append(s.list, i)
			}
			s.program().end()
			s.change(tt.before)
			s.records = 14 * 24 * time.Hour
			look := func() (texts []string) {
				for i := range s.nodes.Len() {
					texts = append(texts, harness.Inspect(t, s.nodes).Get(i, marks.Key))
				}
				return texts
			}
			marked := look()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			waited := false
			err := s.tryChange(ctx, tt.change, func(format string, args ...any) {
				if strings.HasPrefix(fmt.Sprintf(format, args...), "Waiting until what programs recorded") {
					waited = true
					cancel()
				}
			})
			switch {
			case waited != tt.waits:
				t.Errorf("it waited: %t, and ended with %v", waited, err)
			case waited && !slices.Equal(look(), marked):
				t.Error("it has changed a mark")
			case !waited && err != nil:
				t.Error(err)
			}
		})
	}
}
