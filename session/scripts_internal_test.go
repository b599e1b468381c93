package session

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// scripted calls the scripts directly, on a node whose memory is known.
type scripted struct {
	now, memory string
	at          time.Time
}

const (
	aMark       = "0123456789abcdef"
	anotherMark = "fedcba9876543210"
)

func newScripted() *scripted {
	at := time.Now()
	now := stamp(at.UnixMicro())
	return &scripted{now: now, memory: now + aMark, at: at}
}

func (s *scripted) in(d time.Duration) string { return stamp(s.at.Add(d).UnixMicro()) }

// version returns a version of the current time with the suffix n.
func (s *scripted) version(n string) string { return s.now + "000000000000000" + n }

// call returns a script with its arguments from the fifth on.
func (s *scripted) call(source, key string, args ...any) harness.Script {
	mark := s.memory[timeWidth:]
	return harness.Script{
		Source: lib + source,
		Keys:   []string{"session:memory", "session:" + key},
		Args:   append([]any{"", mark, s.now, "session:"}, args...),
	}
}

// put returns a script that creates a session of ann with a deleted field,
// which replaces another session unless replaces is empty.
func (s *scripted) put(hash, replaces, alone string) harness.Script {
	hour, day := s.in(time.Hour), s.in(24*time.Hour)
	return s.call(putSource, hash, s.memory, time.Hour.Milliseconds(), hash, replaces, hour, alone,
		s.now, s.version("2"), "ann", day, hour, "", s.version("1"), "a", s.version("2")+"=1", "b", s.version("2")+"-")
}

// after returns a function that runs scripts in order.
func after(scripts ...harness.Script) func(context.Context, *redis.Client) error {
	return func(ctx context.Context, admin *redis.Client) error {
		for _, s := range scripts {
			if err := admin.Eval(ctx, s.Source, s.Keys, s.Args...).Err(); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestScripts_RefusedCommandLeavesNothingDone(t *testing.T) {
	s := newScripted()
	begun := s.call(`return {'ok', memory}`, "")
	there := after(begun, s.put("one", "", ""))
	later := *s
	later.memory = s.now + anotherMark
	snapshot := func(ctx context.Context, admin *redis.Client) error { // the node has the session, and a newer memory
		if err := there(ctx, admin); err != nil {
			return err
		}
		return admin.Set(ctx, "session:memory", later.memory, 0).Err()
	}
	hour, day := s.in(2*time.Hour), s.in(24*time.Hour)
	index, kept := "session:user:ann", time.Hour.Milliseconds()
	for name, c := range map[string]struct {
		script harness.Script
		before func(context.Context, *redis.Client) error
		may    []string
	}{
		"put":                              {s.put("one", "", ""), after(begun), []string{index}},
		"put what is there":                {s.put("one", "", ""), there, nil},
		"put in place of another":          {s.put("two", "one", ""), there, []string{index}},
		"put to be kept alone":             {s.put("two", "", s.version("3")), there, []string{index}},
		"put where its predecessor is not": {s.put("two", "one", s.version("3")), after(begun), nil},
		"put over a snapshot":              {later.put("one", "", ""), snapshot, nil},
		"load and touch":                   {s.call(loadSource, "one", hour, hour), there, nil},
		"commit":                           {s.call(commitSource, "one", s.memory, hour, "a", s.version("4")+"=2"), there, nil},
		"bury":                             {s.call(tombstoneSource, "one", s.memory, "one", ""), there, nil},
		"bury what is not there":           {s.call(tombstoneSource, "one", s.memory, "one", day), after(begun), nil},
		"drop":                             {s.call(dropSource, "one", s.memory, "", s.version("5")+"-", "b", s.version("2")+"-"), there, nil},
		"log out":                          {s.call(logoutSource, "epoch:ann", s.memory, kept, s.version("6")), there, nil},
		"log out who is not known":         {s.call(logoutSource, "epoch:ann", s.memory, kept, s.version("6")), after(begun), nil},
		"list":                             {s.call(listSource, "user:ann", "ann", "0", 10), there, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c.script.Before, c.script.May = c.before, c.may
			harness.Refused(t, c.script)
		})
	}
}
