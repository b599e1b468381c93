package register_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/cluster"
	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/register"
)

func TestMain(m *testing.M) { harness.Main(m) }

const ttl = time.Hour

var key = register.Key{Name: "job", Record: "{job}:record"}

func open(t *testing.T, s harness.Set) *cluster.Cluster {
	t.Helper()
	began := time.Now()
	c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second, MaxTTL: 6 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	return c
}

func write(t *testing.T, c *cluster.Cluster, token, seq int64, data string) error {
	t.Helper()
	r := register.Record{Token: token, Seq: seq, Origin: token, Data: []byte(data)}
	return register.Write(t.Context(), c, key, r, ttl)
}

// writes is a write that has to succeed.
func writes(t *testing.T, c *cluster.Cluster, token, seq int64, data string) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, write(t, c, token, seq, data))
}

// resumes fails unless the next writer finds data.
func resumes(t *testing.T, c *cluster.Cluster, token int64, data string) {
	t.Helper()
	began := time.Now()
	r, ok, err := register.Resume(t.Context(), c, key, token, ttl)
	harness.Must(t, began, err)
	if ok != (data != "") || string(r.Data) != data {
		t.Fatalf("token %d found %q, %v; want %q", token, r.Data, ok, data)
	}
}

func up(c *cluster.Cluster, i int) func() bool { return func() bool { return c.Status()[i].Up } }

func TestTheNextWriterFindsTheNewestAndKeepsItsOrigin(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		resumes(t, c, 10, "")
		for i, data := range []string{"one", "two", "three"} {
			writes(t, c, 10, int64(i+1), data)
		}
		if err := write(t, c, 10, 2, "two again, late"); err != nil { // of no effect, and no loss: it is the writer's own that is newer
			t.Errorf("an older sequence number of the same writer: %v", err)
		}
		resumes(t, c, 20, "three")
		r, ok, err := register.Read(t.Context(), c, key, ttl)
		if err != nil || !ok || r.Origin != 10 || r.Token != 20 {
			t.Errorf("read %+v, %v, %v; want the data of token 10 under token 20", r, ok, err)
		}
	})
}

func TestAnOvertakenWriterChangesNothingThatIsSeen(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "old")
		// Two nodes miss that 20 takes over; the writer overtaken reaches them, and only them.
		cut := []int{3, 4}
		for _, i := range cut {
			s.Pause(i)
		}
		resumes(t, c, 20, "old")
		for _, i := range cut {
			s.Resume(i)
		}
		for _, i := range cut {
			harness.Eventually(t, "the node is back", up(c, i))
		}
		if err := write(t, c, 10, 2, "late"); !errors.Is(err, register.ErrOvertaken) {
			t.Fatalf("the late write ended with %v", err)
		}
		for _, i := range []int{0, 1} { // the others must now count on the two that took the late write
			s.Stop(i)
			harness.Eventually(t, "the node is down", func() bool {
				register.Read(t.Context(), c, key, ttl)
				return !c.Status()[i].Up
			})
		}
		resumes(t, c, 30, "old")
	})
}

func TestAPromiseToANewerWriterRefusesTheOlder(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range s.Len() { // as a Resume leaves it that ended before it wrote
			if err := harness.Client(t, s, i).Set(t.Context(), key.Record+":promise", 11, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := write(t, c, 10, 1, "late"); !errors.Is(err, register.ErrOvertaken) {
			t.Errorf("the write ended with %v", err)
		}
		if _, _, err := register.Resume(t.Context(), c, key, 10, ttl); !errors.Is(err, register.ErrOvertaken) {
			t.Errorf("an older Resume ended with %v", err)
		}
		if _, ok, err := register.Read(t.Context(), c, key, ttl); ok || err != nil {
			t.Errorf("a promise alone is read as a record: %v, %v", ok, err)
		}
		resumes(t, c, 11, "")
		writes(t, c, 11, 1, "new")
	})
}

func TestAPromiseOutlivesTheRecordThatIsWrittenBehindIt(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		resumes(t, c, 10, "")
		for i := range s.Len() {
			node := harness.Client(t, s, i)
			harness.Eventually(t, "the slower nodes have it", func() bool { return node.Exists(t.Context(), key.Record).Val() == 1 })
			if promise, record := node.PTTL(t.Context(), key.Record+":promise").Val(), node.PTTL(t.Context(), key.Record).Val(); promise <= record {
				t.Errorf("node %d keeps the promise for %v and the record for %v", i, promise, record)
			}
		}
	})
}

func TestARecordSurvivesNodesThatForgetOneAfterAnother(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "kept")
		for i := range 2 { // fewer than a quorum
			if err := s.Restart(i, true); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the restart is seen", func() bool {
				register.Read(t.Context(), c, key, ttl)
				st := c.Status()[i]
				return st.Up && !st.Votes
			})
			resumes(t, c, int64(20+i), "kept")
		}
	})
}

func TestANodeThatMayHaveForgottenHasNoSay(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	// Only nodes 0 and 1 have the record; 0 is then restarted empty, and 1, the only one that knows, is away.
	s.Stop(2)
	writes(t, c, 10, 1, "kept")
	if err := s.Restart(2, false); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	harness.Eventually(t, "node 2 is back", up(c, 2))
	harness.Eventually(t, "uptimes, in whole seconds, differ", func() bool { return time.Since(began) > 4*time.Second })
	if err := s.Restart(0, true); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the restart is seen", func() bool {
		register.Read(t.Context(), c, key, ttl)
		st := c.Status()[0]
		return st.Up && !st.Votes
	})
	s.Stop(1)
	harness.Eventually(t, "node 1 is down", func() bool {
		register.Read(t.Context(), c, key, ttl)
		return !c.Status()[1].Up
	})
	asked := time.Now()
	_, ok, err := register.Resume(t.Context(), c, key, 20, ttl)
	if c.Status()[0].Votes {
		harness.Missed(t, began, "node 0 votes again; it was asked %v after node 2 was back", asked.Sub(began))
	}
	if !errors.Is(err, cluster.ErrNoQuorum) {
		t.Errorf("found %v, %v; want no quorum, since the nodes that answer may have forgotten", ok, err)
	}
}

func TestBelowAQuorumNothingIsKeptOrRead(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	s.Stop(0)
	s.Stop(1)
	if err := write(t, c, 10, 1, "x"); !errors.Is(err, cluster.ErrNoQuorum) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := register.Read(t.Context(), c, key, ttl); !errors.Is(err, cluster.ErrNoQuorum) {
		t.Errorf("read: %v", err)
	}
	for _, url := range s.URLs() {
		var q *cluster.QuorumError
		_, _, err := register.Read(t.Context(), c, key, ttl)
		if !errors.As(err, &q) || len(q.Nodes) != 2 {
			t.Errorf("%v does not name the two nodes that failed", err)
		}
		_ = url
	}
}

func TestADeletionIsNotUndoneByAnOlderWrite(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "x")
		if err := register.Write(t.Context(), c, key, register.Record{Token: 10, Seq: 2, Deleted: true}, ttl); err != nil {
			t.Fatal(err)
		}
		if err := write(t, c, 10, 1, "x"); err != nil {
			t.Errorf("the older write ended with %v", err)
		}
		resumes(t, c, 20, "")
	})
}

func TestAWriteDeliveredTwiceChangesNothing(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for range 2 {
			writes(t, c, 10, 1, "x")
		}
		resumes(t, c, 20, "x")
	})
}

func TestALargeRecordGoesBesideTheStream(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c, err := cluster.Open(t.Context(), cluster.Config{URLs: s.URLs(), NodeTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		data := strings.Repeat("large ", 1<<17)
		writes(t, c, 10, 1, data)
		resumes(t, c, 20, data)
	})
}

// Answers that come while and after the caller gives up are nobody's: the race detector sees who touches them.
func TestAContextThatEndsWhileNodesAnswerIsInTheChain(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "x")
		ended, began := 0, time.Now()
		for i := range 150 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			_, ok, err := register.Read(ctx, c, key, ttl)
			switch {
			case errors.Is(err, context.Canceled):
				ended++
			case err != nil:
				harness.Must(t, began, err)
			case !ok:
				t.Fatalf("read %d found no record", i)
			}
		}
		if ended == 0 {
			t.Skip("no read was ended by its context")
		}
	})
}

// What is no record of ours is an error of the node, not a record and not a panic.
func TestForeignDataIsNoRecord(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	for i, fields := range [][]any{{"token", "ten"}, {"token", "10"}, {"token", "10", "seq", "x", "origin", "1", "deleted", "", "data", ""}} {
		cl := harness.Client(t, s, i)
		if err := cl.HSet(t.Context(), key.Record, fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := register.Read(t.Context(), c, key, ttl); ok || err == nil {
		t.Errorf("it was read as a record: %v, %v", ok, err)
	}
}

func TestDataIsKeptByteForByte(t *testing.T) {
	c := open(t, harness.Embedded(t, 3))
	var all bytes.Buffer
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	writes(t, c, 10, 1, all.String())
	resumes(t, c, 20, all.String())
}

func Example() {
	ctx := context.Background()
	nodes, _ := embedded.Start(3)
	defer nodes.Close()
	c, _ := cluster.Open(ctx, cluster.Config{URLs: nodes.URLs(), NodeTimeout: 5 * time.Second})
	defer c.Close(ctx)
	key := register.Key{Name: "job", Record: "{job}:record"}

	register.Write(ctx, c, key, register.Record{Token: 1, Seq: 1, Origin: 1, Data: []byte("item 7")}, time.Hour)
	r, ok, _ := register.Resume(ctx, c, key, 2, time.Hour) // a writer with a newer token takes over
	fmt.Println(string(r.Data), ok)
	err := register.Write(ctx, c, key, register.Record{Token: 1, Seq: 2, Origin: 1, Data: []byte("item 8")}, time.Hour)
	fmt.Println("the old one is overtaken:", errors.Is(err, register.ErrOvertaken))
	// Output:
	// item 7 true
	// the old one is overtaken: true
}

// A write that a minority has taken lives for its whole TTL. That there is none has to be remembered for as long, or the write
// would be found by somebody after it was not found.
func TestThatThereIsNoRecordIsRememberedForAsLongAsARecord(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		const long = 7 * 24 * time.Hour
		if _, ok, err := register.Resume(t.Context(), c, key, 10, long); ok || err != nil {
			t.Fatalf("%t, %v", ok, err)
		}
		remember := 0
		for i := range s.Len() {
			if harness.Client(t, s, i).PTTL(t.Context(), key.Record).Val() > long-time.Hour {
				remember++
			}
		}
		if remember < c.Quorum() {
			t.Errorf("%d of the nodes remember it", remember)
		}
	})
}

// answers is a Receiver that keeps what it is given.
type answers chan error

func (a answers) Receive(_ *cluster.Node, _ any, err error) { a <- err }

// A node whose reply is none of the script's has not said that it keeps the record.
func TestTell_AReplyThatIsNotTheScriptsIsAnError(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 1)
	n := open(t, s).Nodes()[0]
	for _, tt := range []struct {
		reply any
		fails bool
	}{
		{[]any{int64(1)}, false}, {[]any{int64(0), int64(9)}, false}, // kept; a newer token is known
		{nil, true}, {"OK", true}, {int64(1), true}, {[]any{}, true}, {[]any{"1"}, true}, {[]any{int64(0)}, true},
	} {
		got := make(answers, 1)
		register.Told(got, 7).Receive(n, tt.reply, nil)
		if err := <-got; (err != nil) != tt.fails {
			t.Errorf("of the reply %#v its receiver is given %v", tt.reply, err)
		}
	}
	got := make(answers, 1)
	register.Tell(open(t, s).Nodes(), key, register.Record{Token: 7, Data: []byte("x")}, ttl, got)
	if err := harness.Receive(t, "an answer", got); err != nil {
		t.Error(err)
	}
}

// A node whose record has a token that no clock explains is as one that does not answer: it overrules nobody.
func TestATokenThatIsTooFarAheadIsForeign(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "good")
		ahead := time.Now().Add(cluster.MaxFenceLead + time.Hour).UnixMicro()
		forged := harness.Client(t, s, 0).HSet(t.Context(), key.Record, "token", ahead, "seq", 1, "origin", ahead, "deleted", "", "data", "forged")
		if err := forged.Err(); err != nil {
			t.Fatal(err)
		}
		for token := range int64(20) { // whichever nodes answer first
			resumes(t, c, 20+token, "good")
			began := time.Now()
			r, ok, err := register.Read(t.Context(), c, key, ttl)
			harness.Must(t, began, err)
			if !ok || string(r.Data) != "good" {
				t.Fatalf("read %+v, %v", r, ok)
			}
		}
	})
}

// Waiting does not turn what is no record into one, so the error is not that of a quorum that may come back.
func TestWrite_WhatIsSomethingElseIsNoMatterOfTime(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range 2 {
			if err := harness.Client(t, s, i).Set(t.Context(), key.Record, "text", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		err := write(t, c, 10, 1, "data")
		if errors.Is(err, cluster.ErrNoQuorum) {
			harness.Missed(t, began, "nodes did not answer: %v", err)
		}
		if !errors.Is(err, cluster.ErrConfig) || !strings.Contains(err.Error(), key.Record) {
			t.Errorf("Write: %v", err)
		}
	})
}
