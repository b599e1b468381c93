package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

// A refusal by the nodes is reported as such, with a way to fix it, and not as
// nodes that are down.
func TestDiagnosis_WhatNodesRefuseIsNamed(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 3, redisserver.Options{Password: "right"})
	as := func(user *url.Userinfo) (all []string) {
		for _, raw := range s.URLs() {
			u, err := url.Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			u.User = user
			all = append(all, u.String())
		}
		return all
	}
	for i := range s.Len() {
		rules := append([]any{"ACL", "SETUSER", "app", "on", ">pw"}, aclWords(cluster.ACL("", false))...)
		if err := harness.Client(t, s, i).Do(t.Context(), rules...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	operate(t, as(url.UserPassword("app", "pw")), 0, "run", "first", "--", "true") // the nodes are a set from now on
	for _, tt := range []struct {
		name  string
		urls  []string
		args  []string
		code  int
		says  string
		hides string
	}{
		{"no right to list", as(url.UserPassword("app", "pw")), []string{"ls"}, exitUsage, `cannot be listed.*ACL SETUSER name \+scan`, "no quorum"},
		{"no right to list", as(url.UserPassword("app", "pw")), []string{"top"}, exitUsage, `ACL SETUSER name \+scan`, "no quorum"},
		{"no right to list, but to lock", as(url.UserPassword("app", "pw")), []string{"run", "k", "--", "true"}, 0, ``, "NOPERM"},
		{"no right to list", as(url.UserPassword("app", "pw")), []string{"doctor"}, 0, `fence counters cannot be read.*\n.*\+scan`, "nothing can be locked"},
		{"wrong password", as(url.UserPassword("", "wrong")), []string{"nodes"}, exitNoQuorum, `cannot be used: refuses the user or the password`, "does not answer"},
		{"wrong password", as(url.UserPassword("", "wrong")), []string{"ls"}, exitNoQuorum, `cannot be used: refuses the user or the password`, "does not answer"},
		{"wrong password", as(url.UserPassword("", "wrong")), []string{"run", "k", "--", "true"}, exitUsage, `refuses the user or the password`, "Config."},
		{"no password", as(nil), []string{"run", "k", "--", "true"}, exitUsage, `requires a password, but none is given`, "cannot be marked"},
		{"no password", as(nil), []string{"nodes"}, exitNoQuorum, `refuses .*\n(.*\n)+.*requires a password, but none is given`, "does not answer"},
	} {
		t.Run(tt.name+" "+tt.args[0], func(t *testing.T) {
			t.Parallel()
			p := launch(t, tt.urls, tt.args...)
			p.exit(tt.code)
			p.prints(tt.says)
			p.hides(tt.hides)
		})
	}
}

// What a person reads first in an outage, and on a new set.
func TestDiagnosis_NoQuorumAndNoSetAreNoQuarantine(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	p := operate(t, s.URLs(), exitNoQuorum, "nodes")
	p.prints(`in no set yet`, `the first program that locks makes them one`)
	p.hides("no lock can be acquired for")
	operate(t, s.URLs(), 0, "run", "first", "--", "true")
	s.Stop(0)
	s.Stop(1)
	p = operate(t, s.URLs(), exitNoQuorum, "nodes")
	p.prints(`with a quorum`, `1 of 3 nodes are up`)
	p.hides("in 1m")
	p = launch(t, s.URLs(), "doctor")
	p.exit(exitNoQuorum)
	p.prints(`nothing can be locked from this machine: 1 of 3 nodes could be asked, and a quorum is 2`, `docs/oncall.md#redlocknoquorum`)
	p.hides("not bootstrapped")
	p.hides("fence counters cannot be read")
}

func aclWords(s string) (all []any) {
	for _, w := range strings.Fields(s) {
		all = append(all, w)
	}
	return all
}

func TestDiagnosis_AKeyThatIsNoLockIsNamed(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		for i := range s.Len() {
			if err := harness.Client(t, s, i).RPush(t.Context(), "lock:jobs", "a").Err(); err != nil {
				t.Fatal(err)
			}
		}
		p := launch(t, s.URLs(), "run", "jobs", "--", "true")
		p.exit(exitUsage)
		p.prints(`KEY: "jobs" cannot be locked: [23] nodes hold something other than a lock under this name.*--prefix`)
		if said := p.stderr.String(); strings.Contains(said, "no quorum") { // a slow machine may lose the quorum for a moment
			harness.Missed(t, p.began, "it prints \"no quorum\":\n%s", said)
		}
		p.hides("traceback", "Config.")
	})
}

// The last line of doctor summarizes the findings. It does not call locks
// unsafe because one node cannot be used.
func TestDiagnosis_DoctorEndsWithWhatIsTrue(t *testing.T) {
	t.Parallel()
	danger, warning := cluster.Finding{Severity: cluster.Danger}, cluster.Finding{Severity: cluster.Warning}
	all := strength{nodes: 3, quorum: 2, up: 3, voting: 3}
	for _, tt := range []struct {
		found []cluster.Finding
		s     strength
		want  string
	}{
		{nil, all, "No danger and no warning."},
		{[]cluster.Finding{{Severity: cluster.Note}}, all, "No danger and no warning."},
		{[]cluster.Finding{warning, warning}, all, "2 warnings, no danger."},
		{[]cluster.Finding{danger, warning}, all, "1 danger: it can lose locks, or does not go away by itself."},
		{[]cluster.Finding{danger, danger}, all, "2 dangers: each can lose locks, or does not go away by itself."},
		{[]cluster.Finding{danger}, strength{nodes: 3, quorum: 2, up: 1, voting: 1, in: -1},
			"1 danger: it can lose locks, or does not go away by itself. 1 of 3 nodes are up; a quorum is 2, so no lock can be acquired."},
	} {
		var out strings.Builder
		printFindings(&out, tt.found, tt.s)
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if last := lines[len(lines)-1]; last != tt.want {
			t.Errorf("of %v it ends with %q, want %q", tt.found, last, tt.want)
		}
	}

	s := harness.Embedded(t, 3)
	locked := harness.Real(t, 1, redisserver.Options{Password: "right"})
	open(t, append(s.URLs(), locked.URLs()...)) // makes them a set
	refusing := strings.Replace(locked.URLs()[0], ":right@", ":wrong@", 1)
	p := operate(t, append(s.URLs(), refusing), 1, "doctor")
	p.prints(`(?m)^1 danger: it can lose locks, or does not go away by itself\.`)
}

func TestDiagnosis_AnotherLibrarysHolderIsNotSaidToBeNotified(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	for i := range s.Len() {
		if err := harness.Client(t, s, i).Set(t.Context(), "lock:order:42", "MDEyMzQ1Njc4OWFiY2RlZg==", time.Minute).Err(); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, s.URLs(), "release", "--force", "order:42")
	p.exit(exitFailure)
	p.prints(`Take it away from redsync\? Its holder uses another library and is not notified`)
}

func TestDiagnosis_ErrorsNameFlags(t *testing.T) {
	t.Parallel()
	s := nodes(t, 1)
	locker := newLocker(t, s.URLs())
	if _, err := locker.TryLock(t.Context(), "taken"); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("x", 200)
	for _, tt := range []struct {
		says string
		args []string
	}{
		{`--owner: 200 bytes`, []string{"run", "--owner", long, "k", "--", "true"}},
		{`--candidate: 200 bytes`, []string{"campaign", "--candidate", long, "k", "--", "true"}},
		{`--as: 200 bytes`, []string{"release", "--force", "--yes", "--as", long, "taken"}},
		{`--prefix: 70000 bytes`, []string{"ls", "--prefix", strings.Repeat("x", 70_000)}},
		{`--nodes, URL 2: `, []string{"ls", "--nodes", s.URLs()[0] + ",http://a:1"}},
		{`--nodes: .*listed twice`, []string{"ls", "--nodes", s.URLs()[0] + "," + s.URLs()[0]}},
		{`--owner: ".*\\u202e`, []string{"run", "--owner", "a\u202eb", "k", "--", "true"}},
		{`--owner: ".*\\u009b`, []string{"run", "--owner", "a\u009bb", "k", "--", "true"}},
	} {
		p := launch(t, s.URLs(), tt.args...)
		p.exit(exitUsage)
		p.prints(tt.says)
		p.hides("Config.", "bad configuration")
	}
}

// The nodes of a lock know its token only as the end of the token block of its
// process.
func TestDiagnosis_ATokenIsShownAsABound(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	l, err := newLocker(t, s.URLs()).TryLock(t.Context(), "order:42")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		says string
		args []string
	}{
		{`≤\d{10}`, []string{"ls"}}, {`token +at most \d{10}`, []string{"inspect", "order:42"}}, {`"token_at_most": \d{10}`, []string{"ls", "-o", "json"}},
	} {
		p := launch(t, s.URLs(), tt.args...)
		p.exit(0)
		p.prints(tt.says)
	}
	p := launch(t, s.URLs(), "inspect", "-o", "json", "order:42")
	p.exit(0)
	if d := decode[lockDoc](t, p); d.Token < l.Token() {
		t.Errorf("reported as at most %d, but it is %d", d.Token, l.Token())
	}
}

// A note about the set is not printed by every job, whose output may be mailed.
func TestDiagnosis_AnEvenSetIsToldOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	s := nodes(t, 2)
	p := launch(t, s.URLs(), "run", "key", "--", "true")
	p.exit(0)
	if said := p.stderr.String(); said != "" {
		p.wrong("a job on two nodes prints:\n%s", said)
	}
	p = launch(t, s.URLs(), "run", "-v", "key", "--", "true")
	p.exit(0)
	p.prints("even number of nodes")
}

// The error for a user without the rights names the page that lists them, not a
// function of the library.
func TestRun_AUserWithoutRightsIsNamedWhatToDo(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, redisserver.Options{})
	err := harness.Client(t, s, 0).Do(t.Context(), "ACL", "SETUSER", "poor", "reset", "on", ">secret",
		"~redlock:mark", "&*", "+@all", "-@dangerous", "+info").Err()
	if err != nil {
		t.Fatal(err)
	}
	p := launch(t, []string{strings.Replace(s.URLs()[0], "redis://", "redis://poor:secret@", 1)}, "run", "--no-wait", "key", "--", "true")
	p.exit(exitUsage)
	p.prints(`ACL SETUSER`, `docs/deploy\.md`)
	p.hides("cluster.Rights")
}
