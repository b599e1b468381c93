package nodeset

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

func realOptions() redisserver.Options { return redisserver.Options{} }

// cannotOpen checks that cfg is refused because of the configuration, in words that contain each of want.
func cannotOpen(t *testing.T, cfg Config, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	cfg.Logger, cfg.NodeTimeout = quiet, unhurried
	c, err := Open(ctx, cfg)
	if err == nil {
		shut(t, c)
		t.Fatal("Open succeeded")
	}
	if !errors.Is(err, ErrConfig) || errors.Is(err, ErrNoQuorum) || ctx.Err() != nil {
		t.Errorf("Open = %v, want ErrConfig at once", err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

// leaksNothing checks at the end of the test that its goroutines are gone. It is for tests that do not run in parallel.
func leaksNothing(t *testing.T) {
	t.Helper()
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

func hostOf(t *testing.T, raw string) string {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func TestOpen_RefusesOneServerUnderTwoNames(t *testing.T) {
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		leaksNothing(t)
		alias := strings.Replace(s.URLs()[0], "127.0.0.1", "localhost", 1)
		cannotOpen(t, Config{URLs: []string{s.URLs()[0], alias}},
			hostOf(t, s.URLs()[0]), hostOf(t, alias), "is the same server as node")
		cannotOpen(t, Config{URLs: []string{s.URLs()[0], s.URLs()[0] + "/1"}}, "is the same server as node")
	})
}

func TestOpen_RefusesAReplica(t *testing.T) {
	master := harness.Real(t, 1, realOptions())
	leaksNothing(t)
	host, port, _ := net.SplitHostPort(hostOf(t, master.URLs()[0]))
	replica := harness.Real(t, 1, redisserver.Options{Args: []string{"--replicaof", host, port}})
	cannotOpen(t, Config{URLs: []string{master.URLs()[0], replica.URLs()[0]}},
		"node "+hostOf(t, replica.URLs()[0])+": is a replica")
}

// One node that nobody can use is treated as absent: it keeps no program from
// opening the set, and is named in the log, in Status and in Check.
func TestOpen_ANodeThatCannotBeUsedIsDown(t *testing.T) {
	t.Parallel()
	for name, bad := range map[string]func(t *testing.T, s harness.Set) (url, says string){
		"wrong password": func(t *testing.T, s harness.Set) (string, string) {
			secured := harness.Real(t, 1, redisserver.Options{Password: "right"})
			return as(strings.Replace(secured.URLs()[0], ":right@", "", 1), "default", "wrong"), "WRONGPASS"
		},
		"replica": func(t *testing.T, s harness.Set) (string, string) {
			host, port, _ := net.SplitHostPort(hostOf(t, harness.Real(t, 1, realOptions()).URLs()[0]))
			return harness.Real(t, 1, redisserver.Options{Args: []string{"--replicaof", host, port}}).URLs()[0], "is a replica"
		},
		"another's server": func(t *testing.T, s harness.Set) (string, string) {
			return s.URLs()[0] + "/1", "is the same server as node"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := harness.Embedded(t, 2)
			url, says := bad(t, s)
			var log bytes.Buffer
			c, err := tryOpen(t, Config{URLs: append([]string{url}, s.URLs()...), NodeTimeout: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			down := 0
			for _, status := range c.Status() {
				if !status.Up {
					down++
					if !strings.Contains(status.Err.Error(), says) {
						t.Errorf("down: %v, want %s", status.Err, says)
					}
				}
			}
			if down != 1 {
				t.Errorf("%d nodes are down, want 1", down)
			}
			found := false
			for _, f := range c.Check(t.Context()) {
				found = found || f.Severity == Danger && strings.Contains(f.Text, says)
			}
			if !found {
				t.Errorf("Check does not find it: %v", c.Check(t.Context()))
			}
			shut(t, c) // which waits for what is logged
			if !strings.Contains(log.String(), "level=ERROR") || !strings.Contains(log.String(), says) {
				t.Errorf("the log says %q", &log)
			}
		})
	}
}

// Under a deadline Open waits for a quorum until then, however short NodeTimeout is.
func TestOpen_WaitsUntilTheDeadline(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	s.Stop(0)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
	defer cancel()
	const nodeTimeout = time.Millisecond
	began := time.Now()
	opened := make(chan error, 1)
	go func() {
		c, err := Open(ctx, Config{URLs: s.URLs(), NodeTimeout: nodeTimeout, Logger: quiet})
		if err == nil {
			shut(t, c)
		}
		opened <- err
	}()
	<-time.After(5 * openTries * nodeTimeout) // the fault must last: far longer than it would try without a deadline
	select {
	case err := <-opened:
		t.Fatalf("Open gave up after %v: %v", time.Since(began), err)
	default:
	}
	cancel()
	if err := <-opened; !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Open = %v", err)
	}
}

func TestOpen_ReportsARefusedPasswordWithoutShowingIt(t *testing.T) {
	const right, wrong = "r1ght/secret", "wr0ng/secret"
	for range 20 { // a server without a password closes the connection of who sends it a command of more than ten words
		NewScript("one of many", "return '"+rand.Text()+"'")
	}
	s := harness.Real(t, 1, redisserver.Options{Password: right})
	leaksNothing(t)
	host := hostOf(t, s.URLs()[0])
	for name, user := range map[string]*url.Userinfo{
		"no password":    nil,
		"wrong password": url.UserPassword("", wrong),
		"unknown user":   url.UserPassword("somebody", wrong),
	} {
		t.Run(name, func(t *testing.T) {
			for _, protocol := range []string{"", "?protocol=2"} {
				u := url.URL{Scheme: "redis", User: user, Host: host}
				cfg := Config{URLs: []string{u.String() + protocol}, Logger: quiet, NodeTimeout: unhurried}
				cannotOpen(t, cfg, "node "+host)
				_, err := Open(t.Context(), cfg)
				for _, secret := range []string{right, wrong, url.PathEscape(wrong), "secret"} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("%q has a password in it", err)
					}
				}
			}
		})
	}
	if _, err := tryOpen(t, Config{URLs: s.URLs()}); err != nil {
		t.Errorf("the right password: %v", err)
	}
}

func TestOpen_ReportsAUserWithoutTheRightToPing(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, realOptions())
	if err := harness.Client(t, s, 0).Do(t.Context(), "acl", "setuser", "app", "on", ">pw", "~*", "+@all", "-ping").Err(); err != nil {
		t.Fatal(err)
	}
	u := url.URL{Scheme: "redis", User: url.UserPassword("app", "pw"), Host: hostOf(t, s.URLs()[0])}
	cannotOpen(t, Config{URLs: []string{u.String()}}, "NOPERM", "node "+u.Host)
}

func TestOpen_ReportsADatabaseThatDoesNotExist(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, realOptions())
	cannotOpen(t, Config{URLs: []string{s.URLs()[0] + "/99"}}, "DB index", hostOf(t, s.URLs()[0])+"/99")
}

func TestOpen_SucceedsWithAnUnreachableMinority(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]func(s harness.Set, i int){"stopped": harness.Set.Stop, "paused": harness.Set.Pause} {
		t.Run(name, func(t *testing.T) {
			harness.Each(t, 3, func(t *testing.T, s harness.Set) {
				t.Parallel()
				hurt(s, 1)
				c := open(t, s, impatient)
				if c.Quorum() != 2 || len(c.Nodes()) != 3 {
					t.Errorf("quorum %d of %d", c.Quorum(), len(c.Nodes()))
				}
				if a := run(t, c.Nodes()[1], pingScript, nil); !errors.Is(a.err, ErrNodeDown) || !Unsent(a.err) {
					t.Errorf("the node that was not reached: %v", a)
				}
				for i, st := range c.Status() {
					if up := i != 1; st.Up != up || (st.Err == nil) != up || st.Since.IsZero() != up || st.Node != hostOf(t, s.URLs()[i]) {
						t.Errorf("status %+v", st)
					}
				}
				for _, i := range []int{0, 2} {
					ran(t, c.Nodes()[i], pingScript, nil)
				}
			})
		})
	}
}

func TestOpen_WithoutAQuorumNamesEveryNode(t *testing.T) {
	leaksNothing(t)
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		t.Parallel()
		s.Stop(0)
		s.Pause(2)
		defer s.Resume(2)                              // an embedded node that is paused keeps the connections of clients that have gone
		ctx, cancel := context.WithCancel(t.Context()) // without a deadline
		defer cancel()
		c, err := Open(ctx, Config{URLs: s.URLs(), NodeTimeout: 400 * time.Millisecond, Logger: quiet})
		if err == nil {
			shut(t, c)
			t.Fatal("Open succeeded")
		}
		var q *QuorumError
		if !errors.As(err, &q) || !errors.Is(err, ErrNoQuorum) || errors.Is(err, ErrConfig) {
			t.Fatalf("Open = %v, want a *QuorumError", err)
		}
		if q.Op != "open" || q.Need != 2 || q.Got != 1 || len(q.Nodes) != 2 {
			t.Errorf("got %+v", q)
		}
		for _, i := range []int{0, 2} {
			if !strings.Contains(err.Error(), "node "+hostOf(t, s.URLs()[i])+": ") {
				t.Errorf("%q does not name node %d", err, i)
			}
		}
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("%q does not say that the stopped node refused", err)
		}
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) && strings.HasSuffix(err.Error(), "): "+context.DeadlineExceeded.Error()) {
			t.Errorf("Open gave up because of the caller's deadline: %v", err)
		}
		var one *NodeError
		if !errors.As(err, &one) || one.Node != q.Nodes[0].Node {
			t.Errorf("no NodeError in %v", err)
		}
	})
}

func TestOpen_WithoutAQuorumDoesNotBlameTheCallersContext(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	s.Stop(0)
	began := time.Now()
	_, err := Open(t.Context(), Config{URLs: s.URLs(), NodeTimeout: 200 * time.Millisecond, Logger: quiet})
	if !errors.Is(err, ErrNoQuorum) || errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v", err)
	}
	if errors.Is(err, context.DeadlineExceeded) { // or no dial was refused within its time
		harness.Missed(t, began, "Open = %v", err)
	}
}

func TestOpen_EndsWithItsContext(t *testing.T) {
	s := harness.Embedded(t, 3)
	leaksNothing(t)
	s.Stop(1)
	s.Stop(2)
	because := errors.New("the caller went home")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := Open(ctx, Config{URLs: s.URLs(), NodeTimeout: 20 * time.Second, Logger: quiet}) // 160 s of trying
		done <- err
	}()
	harness.Eventually(t, "the node that is up to be asked", func() bool { return s.Commands(0)["info"] > 0 })
	cancel(because)
	err := harness.Receive(t, "Open to end", done)
	if !errors.Is(err, context.Canceled) || !errors.Is(err, because) || !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Open = %v", err)
	}

	if _, err := Open(ctx, Config{URLs: s.URLs(), Logger: quiet}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open with a dead context = %v", err)
	}
}

func TestUnusable_IsWhatRetryingDoesNotFix(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("failed to authenticate: %w", err) }
	for want, errs := range map[bool][]error{
		true: {
			reply("WRONGPASS invalid"), wrap(reply("WRONGPASS invalid")), reply("NOAUTH Authentication required."), reply("NOPERM no"),
			wrap(reply("ERR DB index is out of range")), reply("ERR invalid password"), errReplica, &sameServerError{"a"},
			&net.OpError{Op: "remote error", Err: errors.New("tls: bad certificate")}, x509.UnknownAuthorityError{}, tls.RecordHeaderError{},
		},
		false: {
			reply("LOADING Redis is loading"), reply("BUSY Redis is busy"), reply("ERR max number of clients reached"), io.EOF,
			&net.OpError{Op: "dial", Err: errors.New("refused")}, context.DeadlineExceeded, errors.New("WRONGPASS, says no server"),
		},
	} {
		for _, err := range errs {
			if got := Unusable(err); got != want {
				t.Errorf("Unusable(%v) = %t", err, got)
			}
		}
	}
}

// reply is an error that a server answered.
type reply string

func (r reply) Error() string { return string(r) }
func (reply) RedisError()     {}

// A probe that is cut short says only that the time is over; what was wrong with the node was known before.
func TestOpen_KeepsTheReasonWhyANodeFailed(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reason := errors.New("the first reason")
	var calls atomic.Int32
	o, err := redis.ParseURL(s.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	o.OnConnect = func(probe context.Context, _ *redis.Conn) error {
		if calls.Add(1) <= 2 { // a probe whose first connection fails tries go-redis's other pool
			return reason
		}
		cancel()
		<-probe.Done()
		return probe.Err()
	}
	given := redis.NewClient(o)
	defer given.Close()
	_, err = Open(ctx, Config{Clients: map[string]redis.UniversalClient{"a": given}, NodeTimeout: 10 * time.Second, Logger: quiet})
	if !errors.Is(err, reason) || !errors.Is(err, context.Canceled) || !errors.Is(err, ErrNoQuorum) {
		t.Errorf("Open = %v, want the first reason, and that it was cancelled", err)
	}
}

func TestOpen_WaitsForAQuorumThatComesUp(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	s.Stop(0)
	opened, began := make(chan error, 1), time.Now()
	go func() {
		_, err := tryOpen(t, Config{URLs: s.URLs()})
		opened <- err
	}()
	if err := s.Restart(0, false); err != nil {
		t.Fatal(err)
	}
	harness.Must(t, began, <-opened)
}

func TestOpen_ItsContextDoesNotEndTheSet(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	began := time.Now()
	c, err := Open(ctx, Config{URLs: s.URLs(), Logger: quiet, NodeTimeout: unhurried})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	cancel()
	ran(t, c.Nodes()[0], pingScript, nil)
}

func TestOpen_WarnsOfAnEvenNumberOfNodes(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 2)
	var log bytes.Buffer
	c := open(t, s, func(cfg *Config) { cfg.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
	shut(t, c) // which waits for what is logged
	if !strings.Contains(log.String(), "even number") {
		t.Errorf("the log says %q", &log)
	}
}

func TestSet_Process_DiffersBetweenSets(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	a, b := open(t, s), open(t, s)
	if a.Process() == "" || a.Process() == b.Process() || Channel(a.Process()) == Channel(b.Process()) {
		t.Errorf("processes %q and %q", a.Process(), b.Process())
	}
	if got := a.Nodes()[0]; got.Index() != 0 || got.Name() != hostOf(t, s.URLs()[0]) || got.Sharded() {
		t.Errorf("node %d %q sharded %t", got.Index(), got.Name(), got.Sharded())
	}
	if a.Config().MaxTTL != time.Minute {
		t.Errorf("Config is %+v", a.Config())
	}
}
