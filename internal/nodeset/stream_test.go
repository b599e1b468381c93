package nodeset

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestNode_Run_KeepsTheOrder(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		n := c.Nodes()[0]
		ran(t, n, pushScript, []string{"list"}, "first") // loads the script
		const runs = 300
		r := &recorder{}
		for i := range runs {
			n.Run(pushScript, []string{"list"}, []any{i}, r.at(i))
		}
		harness.Eventually(t, "all answers", func() bool { return r.count() == runs })
		r.eachOnce(t, runs, func(a answer) bool { return a.err == nil })
		if !slices.IsSorted(r.order) {
			t.Error("answers came in another order")
		}
		got, err := harness.Client(t, s, 0).LRange(t.Context(), "list", 1, -1).Result()
		if err != nil || len(got) != runs {
			t.Fatalf("LRANGE gave %d, %v", len(got), err)
		}
		for i, v := range got {
			if v != strconv.Itoa(i) {
				t.Fatalf("at %d stands %s", i, v)
			}
		}
	})
}

func TestSet_Gather_SendsOneBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, batches := gathering()
		c.Gather(func() {
			for range cap(batches) {
				s.put(call{}, cap(batches))
				runtime.Gosched() // to the goroutine that sends
			}
		})
		if got := <-batches; got != cap(batches) {
			t.Errorf("the first batch has %d commands, want %d", got, cap(batches))
		}
		s.close()
		for range batches {
		}
	})
}

// Calls that overlap and follow one another without a pause must not hold back
// renewals.
func TestSet_Gather_ACommandWaitsForOneCallAtTheMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s, batches := gathering()
		first, second := make(chan struct{}), make(chan struct{})
		go c.Gather(func() { <-first })
		synctest.Wait()
		s.put(call{}, cap(batches))
		go c.Gather(func() { <-second })
		synctest.Wait()
		if len(batches) > 0 {
			t.Fatal("the first call holds nothing back")
		}
		close(first)
		synctest.Wait()
		if len(batches) != 1 {
			t.Error("a command waits for a call that began after it was sent")
		}
		close(second)
		s.close()
		for range batches {
		}
	})
}

// gathering is a set of one node, its stream, and the sizes of the batches that it
// sends.
func gathering() (*Set, *stream, chan int) {
	n := &Node{streams: newStreams()}
	s, batches := n.streams[urgent], make(chan int, 64)
	go func() {
		defer close(batches)
		for calls := range s.batches {
			batches <- len(calls)
		}
	}()
	return &Set{nodes: []*Node{n}}, s, batches
}

func TestNode_Send_KeepsTheWordsOfEachCommand(t *testing.T) {
	t.Parallel()
	both := NewScript("both", `return ARGV[1] .. ' ' .. ARGV[2] .. ' ' .. ARGV[3]`)
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		const runs = 256
		for range 2 { // by source, as far as they are on their way before the script is known, and then by hash
			r := &recorder{}
			cmd, wants := both.Command([]string{"k"}, "a", "b", "c"), make([]string, runs)
			for i := range runs {
				own, want := cmd, "a b c"
				switch i % 3 {
				case 1:
					own, want = cmd.With(i), fmt.Sprint("a b ", i)
				case 2:
					own, want = cmd.WithTwo(i, -i), fmt.Sprint("a ", i, " ", -i)
				}
				wants[i] = want
				n.Send(own, r.at(i))
			}
			harness.Eventually(t, "all answers", func() bool { return r.count() == runs })
			r.eachOnce(t, runs, func(a answer) bool { return a.err == nil })
			for i, all := range r.answers {
				if all[0].reply != wants[i] {
					t.Fatalf("command %d was answered %v; want %q", i, all, wants[i])
				}
			}
		}
	})
}

func TestScript_IsSentAsSourceWhereItIsUnknown(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		n := c.Nodes()[0]
		client := harness.Client(t, s, 0)
		for range 2 {
			const runs = 50
			r := &recorder{}
			for i := range runs {
				n.Run(pushScript, []string{"list"}, []any{i}, r.at(i))
			}
			harness.Eventually(t, "all answers", func() bool { return r.count() == runs })
			r.eachOnce(t, runs, func(a answer) bool { return a.err == nil })
			if got := client.LLen(t.Context(), "list").Val(); got != runs {
				t.Errorf("%d were executed, want %d: each once", got, runs)
			}
			evals := s.Commands(0)["eval"]
			ran(t, n, pushScript, []string{"other"}, "x")
			if again := s.Commands(0)["eval"]; again != evals {
				t.Error("the source was sent although the node has the script")
			}
			if err := client.Del(t.Context(), "list", "other").Err(); err != nil {
				t.Fatal(err)
			}
			if err := client.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
		}
		// Beside the stream alike.
		o := newOnce()
		n.RunOutOfBand(pushScript, []string{"list"}, []any{"x"}, o)
		if a := o.wait(t); a.err != nil || a.reply != int64(1) {
			t.Errorf("RunOutOfBand got %v", a)
		}
	})
}

func TestNode_Run_ReturnsTheServersOwnError(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		bad := NewScript("bad", `return redis.error_reply('MYERR no')`)
		for range 2 {
			var reply redis.Error
			if a := run(t, n, bad, []string{"k"}); !errors.As(a.err, &reply) || Unsent(a.err) {
				t.Errorf("got %v, want the server's error", a)
			}
		}
		if got := ran(t, n, pingScript, nil); got != "pong" {
			t.Errorf("after an error of a script the node answered %v", got)
		}
	})
}

func TestNode_Run_MayBeCalledFromReceive(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		n := open(t, s).Nodes()[0]
		const depth = 20
		done := make(chan struct{})
		r := &recorder{}
		r.onEach = func(i int, n *Node, _ error) {
			if i == depth-1 {
				close(done)
				return
			}
			n.Run(pushScript, []string{"list"}, []any{i + 1}, r.at(i+1))
		}
		n.Run(pushScript, []string{"list"}, []any{0}, r.at(0))
		harness.Receive(t, "the chain to end", done)
		r.eachOnce(t, depth, func(a answer) bool { return a.err == nil })
	})
}

func TestNode_Run_FailsAsUnsentAboveMaxQueued(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.MaxQueued = 64; cfg.NodeTimeout = 10 * time.Second })
		n := c.Nodes()[0]
		run(t, n, pushScript, []string{"list"}, "x")
		s.Pause(0)
		const runs = 200
		r := &recorder{}
		for i := range runs {
			n.Run(pushScript, []string{"list"}, []any{i}, r.at(i))
		}
		s.Resume(0)
		harness.Eventually(t, "all answers", func() bool { return r.count() == runs })
		sent := 0
		r.eachOnce(t, runs, func(a answer) bool {
			if a.err == nil {
				sent++
				return true
			}
			return Unsent(a.err) && errors.Is(a.err, errFull)
		})
		if sent != 64 {
			t.Errorf("%d were executed, want the 64 of MaxQueued", sent)
		}
		if !c.Status()[0].Up {
			t.Error("a full queue took the node down")
		}
	})
}

func TestNode_Run_IsAnsweredOnceWhileTheNodeFailsAndRecovers(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = time.Second }) // which a slow node may exceed too
		n := c.Nodes()[0]
		r := &recorder{}
		var next atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					i := int(next.Add(1)) - 1
					n.Run(pushScript, []string{"list"}, []any{i}, r.at(i))
					if i%16 == 0 {
						run(t, n, pingScript, nil) // lets the others in
					}
				}
			})
		}
		passed := func(more int64) {
			from := next.Load()
			harness.Eventually(t, "more runs", func() bool { return next.Load() > from+more })
		}
		passed(100)
		s.Stop(0)
		harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[0].Up })
		passed(10)
		if err := s.Restart(0, true); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, "the node to be up", func() bool { return c.Status()[0].Up })
		passed(100)
		s.Pause(0)
		harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[0].Up })
		s.Resume(0)
		harness.Eventually(t, "the node to be up", func() bool { return c.Status()[0].Up })
		close(stop)
		wg.Wait()
		shut(t, c)
		r.eachOnce(t, int(next.Load()), func(answer) bool { return true })
	})
}

func TestSet_Close_WaitsForCommandsAndThoseOfTheirReceivers(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second })
		n := c.Nodes()[0]
		run(t, n, pushScript, []string{"list"}, "x")
		s.Pause(0)
		const chains, length = 30, 3
		r := &recorder{}
		r.onEach = func(i int, n *Node, _ error) {
			if i < chains*(length-1) {
				n.Run(pushScript, []string{"list"}, []any{i}, r.at(i+chains))
			}
		}
		for i := range chains {
			n.Run(pushScript, []string{"list"}, []any{i}, r.at(i))
		}
		dead, cancel := context.WithCancelCause(t.Context())
		because := errors.New("enough")
		cancel(because)
		if err := c.Close(dead); !errors.Is(err, context.Canceled) || !errors.Is(err, because) {
			t.Errorf("Close with a dead context = %v", err)
		}
		if c.Err() != ErrClosed {
			t.Error("a Cluster that is closing has no Err")
		}
		if r.count() != 0 {
			t.Error("a paused node answered")
		}
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				shut(t, c)
				if got := r.count(); got != chains*length {
					t.Errorf("Close returned after %d of %d answers", got, chains*length)
				}
			})
		}
		s.Resume(0)
		wg.Wait()
		r.eachOnce(t, chains*length, func(a answer) bool { return a.err == nil })
		if got := harness.Client(t, s, 0).LLen(t.Context(), "list").Val(); got != chains*length+1 {
			t.Errorf("%d were executed, want %d", got, chains*length+1)
		}
	})
}

func TestSet_Close_FailsEverythingAfterIt(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 2)
	c := open(t, s)
	n, downed := c.Nodes()[0], c.Nodes()[1]
	s.Stop(1)
	run(t, downed, pingScript, nil)
	harness.Eventually(t, "the stopped node to be down", func() bool { return !c.Status()[1].Up })
	if c.Err() != nil {
		t.Errorf("Err before Close = %v", c.Err())
	}
	shut(t, c)
	shut(t, c)
	for _, n := range []*Node{n, downed} {
		if a := run(t, n, pingScript, nil); !errors.Is(a.err, ErrClosed) || !Unsent(a.err) {
			t.Errorf("Run on %d = %v", n.Index(), a)
		}
		o := newOnce()
		n.RunOutOfBand(pingScript, nil, nil, o)
		if a := o.wait(t); !errors.Is(a.err, ErrClosed) || !Unsent(a.err) {
			t.Errorf("RunOutOfBand on %d = %v", n.Index(), a)
		}
		n.SendLater(pingScript.Command(nil), time.Time{})
		n.Run(pingScript, nil, nil, nil) // nobody to tell
	}
	if c.Err() != ErrClosed {
		t.Errorf("Err = %v", c.Err())
	}
	harness.Receive(t, "Listen after Close to open", c.Listen(&listener{}))
	if c.Listen(&listener{}); c.Nodes()[0].Listening() {
		t.Error("a closed Cluster is listening")
	}
}

// Commands that begin while Close ends must be answered too: executed or refused, not forgotten.
func TestSet_Close_AnswersACommandThatRacesIt(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	for round := range 10 {
		c := open(t, s)
		n := c.Nodes()[0]
		const workers, runs = 4, 20
		r := &recorder{}
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				for i := range runs {
					n.Run(pingScript, nil, nil, r.at(w*runs+i))
				}
			})
		}
		harness.Eventually(t, "some answers", func() bool { return r.count() >= round })
		shut(t, c)
		wg.Wait()
		harness.Eventually(t, "all answers", func() bool { return r.count() == workers*runs })
		r.eachOnce(t, workers*runs, func(a answer) bool { return a.err == nil || errors.Is(a.err, ErrClosed) })
	}
}

func TestNode_RunOutOfBand_IsOneCommandThatCloseWaitsFor(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second })
		n := c.Nodes()[0]
		o := newOnce()
		n.RunOutOfBand(setScript, []string{"k"}, []any{"v"}, o)
		if a := o.wait(t); a.err != nil || a.reply != "OK" {
			t.Fatalf("got %v", a)
		}
		s.Pause(0)
		r := &recorder{}
		for i := range 10 {
			n.RunOutOfBand(pushScript, []string{"list"}, []any{i}, r.at(i))
		}
		closed := make(chan struct{})
		go func() { defer close(closed); shut(t, c) }()
		harness.Eventually(t, "Close to begin", func() bool { return c.Err() != nil })
		select {
		case <-closed:
			t.Error("Close did not wait")
		default:
		}
		harness.Eventually(t, "what waits to be refused", func() bool { return r.count() == 10-largeAtOnce })
		s.Resume(0)
		harness.Receive(t, "Close to return", closed)
		refused := 0
		r.eachOnce(t, 10, func(a answer) bool {
			if a.err != nil {
				refused++
			}
			return a.err == nil || errors.Is(a.err, ErrClosed)
		})
		if refused != 10-largeAtOnce {
			t.Errorf("%d of 10 were refused, want %d", refused, 10-largeAtOnce)
		}
	})
}

func TestNode_RunOutOfBand_BoundsTheCommandsThatWait(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	c := open(t, s, func(cfg *Config) { cfg.MaxQueued, cfg.NodeTimeout = 64, 10*time.Second })
	n := c.Nodes()[0]
	s.Pause(0)
	r := &recorder{}
	for i := range 64 {
		n.RunOutOfBand(pushScript, []string{"list"}, []any{i}, r.at(i))
	}
	o := newOnce()
	n.RunOutOfBand(pushScript, []string{"list"}, []any{"above"}, o)
	if a := o.wait(t); !errors.Is(a.err, errFull) {
		t.Errorf("above the limit: %v", a.err)
	}
	s.Resume(0)
	harness.Eventually(t, "all answers", func() bool { return r.count() == 64 })
	r.eachOnce(t, 64, func(a answer) bool { return a.err == nil })
	n.RunOutOfBand(pushScript, []string{"list"}, []any{"later"}, o)
	if a := o.wait(t); a.err != nil {
		t.Errorf("when there was room again: %v", a.err)
	}
}

func TestScript_CommandNamesHashAndKeys(t *testing.T) {
	s := NewScript("x", "return 1")
	if s.Name() != "x" || s.hash != "e0e1f9fabfc9d4800c877a703b823ac0578ff8db" {
		t.Errorf("name %q, hash %s", s.Name(), s.hash)
	}
	words := func(cmd *redis.Cmd) string {
		all := cmd.Args()
		for i, w := range all {
			if s, ok := w.(*string); ok {
				all[i] = *s
			}
		}
		return fmt.Sprint(all...)
	}
	cmd := s.Command([]string{"a", "b"}, 1, "z")
	if got := words(cmd.redis(false)); got != fmt.Sprint("evalsha", s.hash, 2, "a", "b", 1, "z") {
		t.Errorf("args %s", got)
	}
	if got := words(cmd.With("y").redis(false)); got != fmt.Sprint("evalsha", s.hash, 2, "a", "b", 1, "y") {
		t.Errorf("args %s", got)
	}
	if got := words(cmd.redis(true)); got != fmt.Sprint("eval", "return 1", 2, "a", "b", 1, "z") {
		t.Errorf("args %s", got)
	}
}

// The same at the one moment that matters: Close has seen that no answer is awaited, and has not yet refused new commands.
func TestSet_Close_WaitsForACommandBetweenTheLastReplyAndTheEnd(t *testing.T) {
	s := harness.Embedded(t, 1)
	c := open(t, s, func(cfg *Config) { cfg.NodeTimeout = 10 * time.Second })
	n := c.Nodes()[0]
	dead, cancel := context.WithCancel(t.Context())
	cancel()
	c.spawnMu.Lock() // stops Close there
	c.Close(dead)
	harness.Eventually(t, "Close to wait for the mutex", func() bool {
		all := make([]byte, 1<<20)
		for goroutine := range strings.SplitSeq(string(all[:runtime.Stack(all, true)]), "\n\n") {
			if strings.Contains(goroutine, "(*Set).shutdown") && strings.Contains(goroutine, "(*Mutex).Lock") {
				return true
			}
		}
		return false
	})
	if !c.begin() { // as Run does first
		t.Fatal("nothing may be sent any more")
	}
	c.spawnMu.Unlock()
	harness.Eventually(t, "Close to refuse new commands", c.dead.Load)
	select {
	case <-c.closed:
		t.Fatal("Close did not wait for the command")
	case <-time.After(20 * time.Millisecond): // time to go wrong
	}
	o := newOnce()
	n.streams[urgent].put(call{Command: pingScript.Command(nil), receiver: o}, 1)
	shut(t, c)
	if a := o.wait(t); a.err != nil {
		t.Errorf("the command got %v", a)
	}
}

// What waits behind a batch that has timed out never left, and its answer says so; what was under way may have been executed.
func TestStream_CommandsBehindAFailedBatchAreUnsent(t *testing.T) {
	t.Parallel()
	harness.Each(t, 1, func(t *testing.T, s harness.Set) {
		t.Parallel()
		c := open(t, s, impatient)
		n := c.Nodes()[0]
		run(t, n, pushScript, []string{"list"}, "loads the script")
		s.Pause(0)
		r := &recorder{}
		n.Run(pushScript, []string{"list"}, []any{"under way"}, r.at(0))
		harness.Eventually(t, "the first command to be sent", func() bool {
			s := n.streams[urgent]
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.calls) == 0
		})
		for i := 1; i <= 5; i++ {
			n.Run(pushScript, []string{"list"}, []any{"behind"}, r.at(i))
		}
		harness.Eventually(t, "all answers", func() bool { return r.count() == 6 })
		s.Resume(0)
		harness.Eventually(t, "the node to be up", func() bool { return c.Status()[0].Up })
		r.eachOnce(t, 6, func(a answer) bool { return a.err != nil })
		if Unsent(r.answers[0][0].err) {
			t.Errorf("of what was under way is said that it never left: %v", r.answers[0][0].err)
		}
		for i := 1; i <= 5; i++ {
			if err := r.answers[i][0].err; !Unsent(err) || !errors.Is(err, ErrNodeDown) {
				t.Errorf("of what was behind it is said: %v", err)
			}
		}
		if got := harness.Client(t, s, 0).LRange(t.Context(), "list", 0, -1).Val(); slices.Contains(got, "behind") {
			t.Errorf("the node has executed %q", got)
		}
	})
}

// A reply of a length that makes go-redis panic costs a node, not the process.
func TestBreaker_TripsForAnAbsurdReply(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	for name, ask := range map[string]func(*Node, Receiver){
		"stream": func(n *Node, r Receiver) { n.Run(pingScript, nil, nil, r) },
		"aside":  func(n *Node, r Receiver) { n.RunOutOfBand(pingScript, nil, nil, r) },
		"ask": func(n *Node, r Receiver) {
			reply, err := n.AskScript(context.Background(), pingScript, nil, nil)
			r.Receive(n, reply, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := redis.ParseURL(s.URLs()[0])
			if err != nil {
				t.Fatal(err)
			}
			var absurd atomic.Bool
			o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
				cn, err := new(net.Dialer).DialContext(ctx, network, addr)
				return liar{cn, &absurd}, err
			}
			client := redis.NewClient(o)
			defer client.Close()
			cfg := Config{Clients: map[string]redis.UniversalClient{"a": client}}
			cfg.NodeTimeout = 2 * harness.Patience // it is no time-out that ends the command
			cfg.MaxTTL = 3 * cfg.NodeTimeout
			c := mustOpen(t, cfg)
			answer := newOnce()
			ask(c.Nodes()[0], answer)
			if a := answer.wait(t); a.err != nil { // there is a connection now
				t.Fatal(a.err)
			}
			absurd.Store(true)
			ask(c.Nodes()[0], answer)
			if a := answer.wait(t); a.err == nil || !strings.Contains(a.err.Error(), "unreadable reply") || Unsent(a.err) || answered(a.err) {
				t.Errorf("got %v, want an error of a command that may have been executed", a)
			}
			harness.Eventually(t, "the node to be down", func() bool { return !c.Status()[0].Up })
			absurd.Store(false)
			harness.Eventually(t, "the node to be up", func() bool { return c.Status()[0].Up })
		})
	}
}

// liar says that the reply has 2^62 elements.
type liar struct {
	net.Conn
	absurd *atomic.Bool
}

func (l liar) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	if l.absurd.Load() && err == nil {
		n = copy(b, "*4611686018427387904\r\n")
	}
	return n, err
}
