package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/lock"
)

// Restarted nodes do not vote, so commands must not report a set as healthy on
// which nothing can be locked.
func TestOutage_NodesThatDoNotVoteYetAreNoQuorum(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	newLocker(t, s.URLs()) // the set is no longer new
	for _, i := range []int{0, 1} {
		if err := s.Restart(i, true); err != nil {
			t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"nodes"}, {"doctor"}} {
		p := launch(t, s.URLs(), args...)
		p.exit(exitNoQuorum)
		p.prints(`no lock can be acquired for [1-9]`)
		p = launch(t, s.URLs(), append(args, "-o", "json")...)
		p.exit(exitNoQuorum)
		p.prints(`"up": 3,\s+"voting": 1,\s+"quorum_in_ms": [1-9]`)
	}
	p := launch(t, s.URLs(), "run", "--no-wait", "key", "--", "echo", "never")
	p.exit(exitNoQuorum)
	p.prints(`[23] answered, but only [01] of the 2 nodes needed can vote; a quorum votes in \d+`)
}

// A waiting run must survive an outage: if a standby ended then, that would be
// noticed only when it is needed.
func TestOutage_AWaitingRunOutlastsIt(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"run", "key", "--", "echo", "mine"},
		{"run", "--once", "job", "--", "echo", "mine"},
		{"campaign", "scheduler", "--", "echo", "mine"},
	} {
		s := nodes(t, 3)
		s.Pause(0)
		s.Pause(1)
		p := launch(t, s.URLs(), args...)
		line := p.stderr.line(t, "redlock: waiting for a quorum")
		for _, name := range names(s.URLs())[:2] {
			if !strings.Contains(line, name+": ") {
				t.Errorf("%q does not name %s", line, name)
			}
		}
		s.Resume(0)
		s.Resume(1)
		p.exit(0)
		p.prints(`mine`)
		s.Pause(0)
		s.Pause(1)
		p = launch(t, s.URLs(), slices.Insert(slices.Clone(args), 1, "--wait=100ms")...)
		p.exit(exitNoQuorum)
		p.prints(`no quorum`)
		s.Close()
	}
}

func TestOutage_ANodeThatIsDownDoesNotVote(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	newLocker(t, s.URLs()) // otherwise the set would wait for its last node before it is used
	s.Stop(0)
	p := launch(t, s.URLs(), "nodes", "-o", "json")
	p.exit(0)
	for _, n := range decode[surveyDoc](t, p).Nodes {
		if n.Votes != n.Up || n.Up == (n.Node == names(s.URLs())[0]) {
			t.Errorf("%+v", n)
		}
	}
	p = launch(t, s.URLs(), "inspect", "key", "-o", "json")
	p.exit(exitNobody)
	for _, v := range decode[lockDoc](t, p).Nodes {
		if v.Votes != (v.Error == "") {
			t.Errorf("%+v", v)
		}
	}
}

func TestOutage_WhatIsReachableIsShownAsPartial(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	if _, err := newLocker(t, s.URLs()).TryLock(t.Context(), "order:42", lock.Owner("nightly")); err != nil {
		t.Fatal(err)
	}
	s.Stop(0)
	s.Stop(1)
	for _, args := range [][]string{{"ls"}, {"top"}} {
		p := launch(t, s.URLs(), args...)
		p.exit(exitNoQuorum)
		p.prints(`PARTIAL`, `order:42 +exclusive +nightly .* \?\?[+~] `, names(s.URLs())[0]+` does not answer`)
	}
	p := launch(t, s.URLs(), "ls", "-o", "json")
	p.exit(exitNoQuorum)
	if doc := decode[listing](t, p); !doc.Partial || len(doc.Locks) != 1 || len(doc.Troubles) != 2 ||
		doc.Locks[0].State != "unknown" || doc.Locks[0].LeftMs != nil || doc.Locks[0].Token != 0 {
		t.Errorf("%+v", doc)
	}
	p = launch(t, s.URLs(), "inspect", "order:42")
	p.exit(exitNoQuorum)
	p.prints(`free +unknown: too few nodes answered`)
	s.Stop(2)
	p = launch(t, s.URLs(), "ls")
	p.exit(exitNoQuorum)
	p.prints(`PARTIAL`)
}
