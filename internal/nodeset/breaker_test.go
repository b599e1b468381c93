package nodeset

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// takeDown has c notice that node i does not answer.
func takeDown(t *testing.T, c *Set, i int) {
	t.Helper()
	c.Nodes()[i].Run(pingScript, nil, nil, nil)
	harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[i].Up })
}

func comesBack(t *testing.T, c *Set, i int) {
	t.Helper()
	harness.Eventually(t, "the node to recover", func() bool { return c.Status()[i].Up })
}

func TestBreaker_ASilentNodeIsDownUntilItAnswers(t *testing.T) {
	t.Parallel()
	for name, hurt := range map[string]struct {
		hurt func(s harness.Set)
		fix  func(s harness.Set) error
	}{
		"paused":  {func(s harness.Set) { s.Pause(0) }, func(s harness.Set) error { s.Resume(0); return nil }},
		"stopped": {func(s harness.Set) { s.Stop(0) }, func(s harness.Set) error { return s.Restart(0, false) }},
	} {
		t.Run(name, func(t *testing.T) {
			harness.Each(t, 1, func(t *testing.T, s harness.Set) {
				t.Parallel()
				c := open(t, s, impatient)
				n := c.Nodes()[0]
				run(t, n, pushScript, []string{"list"}, "before")
				hurt.hurt(s)
				first := run(t, n, pushScript, []string{"list"}, "hurt")
				if first.err == nil || Unsent(first.err) || errors.Is(first.err, ErrNodeDown) {
					t.Errorf("the command that found out got %v", first)
				}
				harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[0].Up })
				for range 10 {
					o := newOnce()
					n.Run(pushScript, []string{"list"}, []any{"down"}, o)
					select {
					case a := <-o.answers:
						if !errors.Is(a.err, ErrNodeDown) || !Unsent(a.err) || !strings.Contains(a.err.Error(), "down: ") {
							t.Errorf("a node that is down answered %v", a)
						}
					default:
						t.Fatal("a node that is down is waited for")
					}
				}
				if err := hurt.fix(s); err != nil {
					t.Fatal(err)
				}
				comesBack(t, c, 0)
				ran(t, n, pushScript, []string{"list"}, "after")
				for _, v := range harness.Client(t, s, 0).LRange(t.Context(), "list", 0, -1).Val() {
					if v == "down" {
						t.Error("a command was sent to a node that was down")
					}
				}
			})
		})
	}
}

func TestNode_Run_DoesNotWaitForAnotherNode(t *testing.T) {
	t.Parallel()
	harness.Each(t, 2, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second })
		s.Pause(0)
		o := newOnce()
		c.Nodes()[0].Run(pingScript, nil, nil, o)
		ran(t, c.Nodes()[1], pingScript, nil)
		select {
		case a := <-o.answers:
			t.Errorf("the paused node answered %v", a)
		default:
		}
		s.Resume(0)
		o.wait(t)
	})
}

func TestPending_ArrivesBeforeAnyNewCommand(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		n := c.Nodes()[0]
		client := harness.Client(t, s, 0)
		list := func() []string { return client.LRange(t.Context(), "list", 0, -1).Val() }
		for range 2 {
			client.Del(t.Context(), "list")
			s.Stop(0)
			takeDown(t, c, 0)
			const debts = 50
			for range debts {
				n.SendLater(pushScript.Command([]string{"list"}, "owed"), time.Time{})
			}
			n.SendLater(pushScript.Command([]string{"list"}, "in time"), time.Now().Add(time.Hour))
			n.SendLater(pushScript.Command([]string{"list"}, "too late"), time.Now().Add(time.Nanosecond))
			// Somebody asks without end, to be the first.
			stop, stopped := make(chan struct{}), make(chan struct{})
			go func() {
				defer close(stopped)
				for {
					select {
					case <-stop:
						return
					default:
					}
					o := newOnce()
					n.Run(pushScript, []string{"list"}, []any{"new"}, o)
					<-o.answers
					runtime.Gosched()
				}
			}()
			if err := s.Restart(0, true); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the debts and more", func() bool { return len(list()) > debts+1 })
			close(stop)
			<-stopped
			run(t, n, pingScript, nil) // all answers are in: a pending command without one is owed again when the node stops
			owed, inTime := 0, 0
			for i, v := range list() {
				switch v {
				case "owed":
					owed++
				case "in time":
					inTime++
				case "too late":
					t.Error("a debt was paid after its time")
				}
				if v == "new" && i < debts {
					t.Fatalf("at %d, before what was owed, stands %q", i, v)
				}
			}
			if owed != debts || inTime != 1 {
				t.Errorf("%d and %d of %d and 1 debts were paid", owed, inTime, debts)
			}
		}
	})
}

func TestNode_SendLater_SendsAtOnceToANodeThatIsUp(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := open(t, s)
	c.Nodes()[0].SendLater(pushScript.Command([]string{"k"}, "v"), time.Time{})
	c.Nodes()[0].SendLater(pushScript.Command([]string{"late"}, "v"), time.Now())
	run(t, c.Nodes()[0], pingScript, nil)
	if keys := harness.Keys(t, s, 0); len(keys) != 1 || keys[0] != "k" {
		t.Errorf("keys are %v", keys)
	}
}

// A pending command that fails on its way is owed again, also when the node was found again before its failure is known.
func TestPending_IsKeptWhenItFailsOnItsWay(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := open(t, s)
	n := c.Nodes()[0]
	paid := func(key string) func() bool {
		return func() bool { return harness.Client(t, s, 0).Exists(t.Context(), key).Val() == 1 }
	}
	for key, err := range map[string]error{
		"connection": errors.New("connection reset"), "timeout": redis.ErrPoolTimeout, "loading": loading{}, "down": &downError{loading{}},
	} {
		pending{cmd: pushScript.Command([]string{key}, "v")}.Receive(n, nil, err)
		harness.Eventually(t, "the debt to be paid", paid(key))
	}
	for key, err := range map[string]error{"refused": wrongType{}, "closed": ErrClosed} {
		pending{cmd: pushScript.Command([]string{key}, "v")}.Receive(n, nil, err)
		run(t, n, pingScript, nil)
		if paid(key)() {
			t.Errorf("a debt that was %s is paid again", key)
		}
	}
}

type loading struct{}

func (loading) Error() string { return "LOADING Redis is loading the dataset in memory" }
func (loading) RedisError()   {}

type wrongType struct{}

func (wrongType) Error() string { return "WRONGTYPE Operation against a key" }
func (wrongType) RedisError()   {}

func TestPending_IsBounded(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	n := c.Nodes()[0]
	s.Stop(0)
	takeDown(t, c, 0)
	for i := range maxPending + 10 {
		n.SendLater(pushScript.Command(nil, i), time.Time{})
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) != maxPending || n.pending[0].cmd.words[3] != 10 {
		t.Errorf("%d debts from %v on, want the newest %d", len(n.pending), n.pending[0].cmd.words[3], maxPending)
	}
}

func TestBreaker_StaysOpenIfThePendingCommandsFail(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	n := open(t, s).Nodes()[0]
	d := &downtime{err: errors.New("x"), since: time.Now()}
	n.down.Store(d)
	n.SendLater(pushScript.Command([]string{"k"}, "v"), time.Time{})
	n.trip(errors.New("again"))
	if n.up(d) || n.down.Load() != d || len(n.pending) != 1 {
		t.Errorf("it is up, or forgot its %d debts", len(n.pending))
	}
	d.failed.Store(false)
	if !n.up(d) || n.down.Load() != nil {
		t.Error("it stays down")
	}
	run(t, n, pingScript, nil)
	if keys := harness.Keys(t, s, 0); len(keys) != 1 {
		t.Errorf("keys are %v, want the one that was owed", keys)
	}
}

func TestBreaker_ABusyServerIsDownUntilItIsFree(t *testing.T) {
	t.Parallel()
	s := harness.Real(t, 1, realOptions())
	c := open(t, s)
	n := c.Nodes()[0]
	client := harness.Client(t, s, 0)
	for _, setting := range []string{"busy-reply-threshold", "lua-time-limit"} {
		client.ConfigSet(t.Context(), setting, "1") // its name differs between versions
	}
	spinning := make(chan error, 1)
	spinner := harness.Client(t, s, 0)
	go func() { spinning <- spinner.Eval(t.Context(), `while true do end`, nil).Err() }()
	harness.Eventually(t, "the server to be busy", func() bool {
		err := client.Ping(t.Context()).Err()
		return err != nil && strings.HasPrefix(err.Error(), "BUSY")
	})
	if a := run(t, n, pingScript, nil); a.err == nil || !strings.HasPrefix(a.err.Error(), "BUSY") {
		t.Errorf("a busy server answered %v", a)
	}
	harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[0].Up })
	n.SendLater(pushScript.Command([]string{"k"}, "v"), time.Time{})
	if err := client.ScriptKill(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	<-spinning
	harness.Eventually(t, "the debt to be paid", func() bool { return client.Exists(t.Context(), "k").Val() == 1 })
	comesBack(t, c, 0)
}

func TestProbe_OfAnUnreachableNodeGrowsRarer(t *testing.T) {
	p := newPace()
	for range 50 {
		if wait := p.NextBackOff(); wait <= 0 || wait > 2*time.Second {
			t.Fatalf("a probe after %v", wait)
		}
	}
	if p.NextBackOff() < 100*time.Millisecond {
		t.Error("probes stay frequent")
	}
}

// The same, closely watched: somebody looks without pause for the moment at which the node may be asked.
func TestBreaker_ClosesOnlyWhenEveryPendingCommandIsOnItsWay(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	n := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second }).Nodes()[0]
	client := harness.Client(t, s, 0)
	// A connection that is being made may write the mark, which is an EVAL as well.
	for _, script := range []*Script{pingScript, NewScript("ping behind", "return redis.call('PING')").Yielding()} {
		if got := run(t, n, script, nil); got.err != nil {
			t.Fatal(got.err)
		}
	}
	harness.Eventually(t, "the mailbox to be open", n.Listening)
	for round := range 2 {
		d := &downtime{err: errors.New("x"), since: time.Now()}
		n.down.Store(d)
		// The node has never seen this script.
		push := NewScript("push", pushScript.src+strings.Repeat(" ", round+1))
		const debts = 200
		for range debts {
			n.SendLater(push.Command([]string{"list"}, "owed"), time.Time{})
		}
		asked := make(chan struct{})
		go func() {
			defer close(asked)
			for n.down.Load() != nil {
				runtime.Gosched()
			}
			for range 20 {
				o := newOnce()
				n.Run(push, []string{"list"}, []any{"new"}, o)
				<-o.answers
			}
		}()
		before := s.Commands(0)["eval"]
		if !n.up(d) {
			t.Fatal("it is not up")
		}
		harness.Receive(t, "it to be asked", asked)
		harness.Eventually(t, "all commands to be executed", func() bool { return client.LLen(t.Context(), "list").Val() == debts+20 })
		for i, v := range client.LRange(t.Context(), "list", 0, debts-1).Val() {
			if v != "owed" {
				t.Fatalf("at %d, before what was owed, stands %q", i, v)
			}
		}
		client.Del(t.Context(), "list")
		if got := s.Commands(0)["eval"] - before; got != 1 {
			t.Errorf("the source was sent %d times: debts were repeated behind what is new", got)
		}
	}
}

func TestPending_ReachesANodeWhoseQueueIsFull(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		// A node that is slow is down, and what it is owed then is lost with the Cluster.
		c := open(t, s, func(cfg *Config) { cfg.MaxQueued, cfg.NodeTimeout = 64, 10*time.Second })
		ran(t, c.Nodes()[0], pushScript, []string{"list"}, "first") // loads the script
		const owed = 200
		for i := range owed {
			c.Nodes()[0].SendLater(pushScript.Command([]string{"list"}, i), time.Time{})
		}
		shut(t, c)
		if got, err := harness.Client(t, s, 0).LLen(t.Context(), "list").Result(); err != nil || got != owed+1 {
			t.Errorf("%d of %d arrived, %v", got-1, owed, err)
		}
	})
}

func TestSet_Status_ANodeThatIsDownDoesNotVote(t *testing.T) {
	t.Parallel()
	harness.Each(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		harness.Eventually(t, "all votes", func() bool { return !slices.Contains(votes(c), false) })
		s.Stop(1)
		takeDown(t, c, 1)
		for i, st := range c.Status() {
			if up := i != 1; st.Up != up || st.Votes != up {
				t.Errorf("node %d: %+v", i, st)
			}
		}
	})
}
