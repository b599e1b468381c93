package record_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/embedded"
	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/record"
	"github.com/venta-hq/redlock/internal/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const ttl = time.Hour

var key = record.Key{Name: "job", Record: "{job}:record"}

func open(t *testing.T, s harness.Set) *nodeset.Set {
	t.Helper()
	began := time.Now()
	c, err := nodeset.Open(t.Context(), nodeset.Config{URLs: s.URLs(), NodeTimeout: 2 * time.Second, MaxTTL: 6 * time.Second})
	harness.Must(t, began, err)
	harness.CloseAtEnd(t, c)
	for _, n := range c.Nodes() {
		if !n.Remembers(ttl) { // it was marked so long after the others that it may have lost records
			harness.Missed(t, began, "node %s is younger than the others", n.Name())
		}
	}
	return c
}

func write(t *testing.T, c *nodeset.Set, token, seq int64, data string) error {
	t.Helper()
	r := record.Record{Token: token, Seq: seq, Origin: token, Data: []byte(data)}
	return record.Write(t.Context(), c, key, r, ttl)
}

// writes is a write that has to succeed.
func writes(t *testing.T, c *nodeset.Set, token, seq int64, data string) {
	t.Helper()
	began := time.Now()
	harness.Must(t, began, write(t, c, token, seq, data))
}

// resumes fails unless the next writer finds data.
func resumes(t *testing.T, c *nodeset.Set, token int64, data string) {
	t.Helper()
	began := time.Now()
	r, ok, err := record.Resume(t.Context(), c, key, token, ttl)
	harness.Must(t, began, err)
	if ok != (data != "") || string(r.Data) != data {
		t.Fatalf("token %d found %q, %v; want %q", token, r.Data, ok, data)
	}
}

func up(c *nodeset.Set, i int) func() bool { return func() bool { return c.Status()[i].Up } }

func TestResume_FindsTheNewestAndKeepsItsOrigin(t *testing.T) {
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
		r, ok, err := record.Read(t.Context(), c, key, ttl)
		if err != nil || !ok || r.Origin != 10 || r.Token != 20 {
			t.Errorf("read %+v, %v, %v; want the data of token 10 under token 20", r, ok, err)
		}
	})
}

func TestWrite_OvertakenChangesNothingThatIsSeen(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "old")
		// Two nodes miss that 20 takes over; the writer overtaken
		// reaches them, and only them.
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
		if err := write(t, c, 10, 2, "late"); !errors.Is(err, record.ErrOvertaken) {
			t.Fatalf("the late write ended with %v", err)
		}
		for _, i := range []int{0, 1} { // the others must now count on the two that took the late write
			s.Stop(i)
			harness.Eventually(t, "the node is down", func() bool {
				record.Read(t.Context(), c, key, ttl)
				return !c.Status()[i].Up
			})
		}
		resumes(t, c, 30, "old")
	})
}

// What a resumption that failed has left on one node is older than what the next one of the same writer finds elsewhere.
func TestResumeAgain_WhatAFailedOneLeftIsNeverSeen(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 1, 1, "old")
		first := harness.Client(t, s, 0)
		began := time.Now()
		harness.Must(t, began, first.HSet(t.Context(), key.Record, "token", 5, "seq", 0, "origin", 2, "data", "unseen").Err())
		for _, i := range []int{1, 2} {
			harness.Must(t, began, harness.Client(t, s, i).HSet(t.Context(), key.Record, "token", 5, "seq", 1, "origin", 1, "data", "old").Err())
		}
		r, ok, err := record.ResumeAgain(t.Context(), c, key, 5, 2, ttl)
		harness.Must(t, began, err)
		if !ok || string(r.Data) != "old" || r.Seq != 2 {
			t.Errorf("it found %q with the number %d, %t", r.Data, r.Seq, ok)
		}
		harness.Eventually(t, "every node to have it", func() bool {
			return first.HGet(t.Context(), key.Record, "seq").Val() == "2" && first.HGet(t.Context(), key.Record, "data").Val() == "old"
		})
		resumes(t, c, 6, "old")
	})
}

func TestResume_PromiseRefusesOlderWriters(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range s.Len() { // as a Resume leaves it that ended before it wrote
			if err := harness.Client(t, s, i).Set(t.Context(), key.Record+":promise", 11, 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		if err := write(t, c, 10, 1, "late"); !errors.Is(err, record.ErrOvertaken) {
			t.Errorf("the write ended with %v", err)
		}
		if _, _, err := record.Resume(t.Context(), c, key, 10, ttl); !errors.Is(err, record.ErrOvertaken) {
			t.Errorf("an older Resume ended with %v", err)
		}
		if _, ok, err := record.Read(t.Context(), c, key, ttl); ok || err != nil {
			t.Errorf("a promise alone is read as a record: %v, %v", ok, err)
		}
		resumes(t, c, 11, "")
		writes(t, c, 11, 1, "new")
	})
}

func TestResume_PromiseOutlivesItsRecord(t *testing.T) {
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

func TestResume_RebuildsNodesThatLostTheirData(t *testing.T) {
	harness.Beside(t, 5, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "kept")
		for i := range 2 { // fewer than a quorum
			if err := s.Restart(i, true); err != nil {
				t.Fatal(err)
			}
			harness.Eventually(t, "the restart is seen", func() bool {
				record.Read(t.Context(), c, key, ttl)
				st := c.Status()[i]
				return st.Up && !st.Votes
			})
			resumes(t, c, int64(20+i), "kept")
		}
	})
}

func TestResume_NodeThatMayHaveLostItsDataDoesNotVote(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	// Only nodes 0 and 1 have the record; 0 is then restarted empty, and 1,
	// the only one that has it, is unreachable.
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
		record.Read(t.Context(), c, key, ttl)
		st := c.Status()[0]
		return st.Up && !st.Votes
	})
	s.Stop(1)
	harness.Eventually(t, "node 1 is down", func() bool {
		record.Read(t.Context(), c, key, ttl)
		return !c.Status()[1].Up
	})
	asked := time.Now()
	_, ok, err := record.Resume(t.Context(), c, key, 20, ttl)
	if c.Status()[0].Votes {
		harness.Missed(t, began, "node 0 votes again; it was asked %v after node 2 was back", asked.Sub(began))
	}
	if !errors.Is(err, nodeset.ErrNoQuorum) {
		t.Errorf("found %v, %v; want no quorum, since the nodes that answer may have lost", ok, err)
	}
}

func TestRegister_BelowAQuorumReadsAndWritesFail(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	s.Stop(0)
	s.Stop(1)
	if err := write(t, c, 10, 1, "x"); !errors.Is(err, nodeset.ErrNoQuorum) {
		t.Errorf("write: %v", err)
	}
	if _, _, err := record.Read(t.Context(), c, key, ttl); !errors.Is(err, nodeset.ErrNoQuorum) {
		t.Errorf("read: %v", err)
	}
	for _, url := range s.URLs() {
		var q *nodeset.QuorumError
		_, _, err := record.Read(t.Context(), c, key, ttl)
		if !errors.As(err, &q) || len(q.Nodes) != 2 {
			t.Errorf("%v does not name the two nodes that failed", err)
		}
		_ = url
	}
}

func TestWrite_OlderOneDoesNotUndoADeletion(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "x")
		if err := record.Write(t.Context(), c, key, record.Record{Token: 10, Seq: 2, Deleted: true}, ttl); err != nil {
			t.Fatal(err)
		}
		if err := write(t, c, 10, 1, "x"); err != nil {
			t.Errorf("the older write ended with %v", err)
		}
		resumes(t, c, 20, "")
	})
}

func TestWrite_DeliveredTwiceChangesNothing(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for range 2 {
			writes(t, c, 10, 1, "x")
		}
		resumes(t, c, 20, "x")
	})
}

func TestWrite_LargeRecordIsSentOutOfBand(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		began := time.Now()
		c, err := nodeset.Open(t.Context(), nodeset.Config{URLs: s.URLs(), NodeTimeout: 10 * time.Second})
		harness.Must(t, began, err)
		defer c.Close(context.Background())
		data := strings.Repeat("large ", 1<<17)
		writes(t, c, 10, 1, data)
		resumes(t, c, 20, data)
	})
}

// Answers that come while and after the caller gives up are dropped: the race
// detector sees accesses to them.
func TestRead_EndedContextIsInTheChain(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "x")
		ended, began := 0, time.Now()
		for i := range 150 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			_, ok, err := record.Read(ctx, c, key, ttl)
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

// Foreign data is an error of the node, not a record and not a panic.
func TestRead_ForeignDataIsNoRecord(t *testing.T) {
	t.Parallel()
	s := harness.Embedded(t, 3)
	c := open(t, s)
	for i, fields := range [][]any{{"token", "ten"}, {"token", "10"}, {"token", "10", "seq", "x", "origin", "1", "deleted", "", "data", ""}} {
		cl := harness.Client(t, s, i)
		if err := cl.HSet(t.Context(), key.Record, fields...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok, err := record.Read(t.Context(), c, key, ttl); ok || err == nil {
		t.Errorf("it was read as a record: %v, %v", ok, err)
	}
}

func TestWrite_KeepsEveryByte(t *testing.T) {
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
	c, _ := nodeset.Open(ctx, nodeset.Config{URLs: nodes.URLs(), NodeTimeout: 5 * time.Second})
	defer c.Close(ctx)
	key := record.Key{Name: "job", Record: "{job}:record"}

	record.Write(ctx, c, key, record.Record{Token: 1, Seq: 1, Origin: 1, Data: []byte("item 7")}, time.Hour)
	r, ok, _ := record.Resume(ctx, c, key, 2, time.Hour) // a writer with a newer token takes over
	fmt.Println(string(r.Data), ok)
	err := record.Write(ctx, c, key, record.Record{Token: 1, Seq: 2, Origin: 1, Data: []byte("item 8")}, time.Hour)
	fmt.Println("the old one is overtaken:", errors.Is(err, record.ErrOvertaken))
	// Output:
	// item 7 true
	// the old one is overtaken: true
}

// A write that a minority has taken lasts for its whole TTL. That there is none
// has to be recorded for as long, or the write would be found after it was not
// found.
func TestResume_RemembersThatThereWasNone(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		const long = 7 * 24 * time.Hour
		if _, ok, err := record.Resume(t.Context(), c, key, 10, long); ok || err != nil {
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

// answers is a Receiver that keeps what it receives.
type answers chan error

func (a answers) Receive(_ *nodeset.Node, _ any, err error) { a <- err }

// A node whose reply is none of the script's has not confirmed that it keeps
// the record.
func TestTell_ForeignReplyIsAnError(t *testing.T) {
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
		record.CheckWrites(got, 7).Receive(n, tt.reply, nil)
		if err := <-got; (err != nil) != tt.fails {
			t.Errorf("of the reply %#v its receiver is given %v", tt.reply, err)
		}
	}
	got := make(answers, 1)
	record.Tell(open(t, s).Nodes(), key, record.Record{Token: 7, Data: []byte("x")}, ttl, got)
	if err := harness.Receive(t, "an answer", got); err != nil {
		t.Error(err)
	}
}

// A node whose record has a token that no clock explains counts as one that
// does not answer: it overrules nobody.
func TestRead_TokenTooFarAheadIsForeign(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		writes(t, c, 10, 1, "good")
		ahead := time.Now().Add(nodeset.MaxFenceLead + time.Hour).UnixMicro()
		forged := harness.Client(t, s, 0).HSet(t.Context(), key.Record, "token", ahead, "seq", 1, "origin", ahead, "deleted", "", "data", "forged")
		if err := forged.Err(); err != nil {
			t.Fatal(err)
		}
		for token := range int64(20) { // whichever nodes answer first
			resumes(t, c, 20+token, "good")
			began := time.Now()
			r, ok, err := record.Read(t.Context(), c, key, ttl)
			harness.Must(t, began, err)
			if !ok || string(r.Data) != "good" {
				t.Fatalf("read %+v, %v", r, ok)
			}
		}
	})
}

// Waiting does not turn foreign data into a record, so the error is not that of
// a quorum that may recover.
func TestWrite_ForeignDataOnAQuorumIsAConfigError(t *testing.T) {
	harness.Beside(t, 3, func(t *testing.T, s harness.Set) {
		c := open(t, s)
		for i := range 2 {
			if err := harness.Client(t, s, i).Set(t.Context(), key.Record, "text", 0).Err(); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		err := write(t, c, 10, 1, "data")
		if errors.Is(err, nodeset.ErrNoQuorum) {
			harness.Missed(t, began, "nodes did not answer: %v", err)
		}
		if !errors.Is(err, nodeset.ErrConfig) || !strings.Contains(err.Error(), key.Record) {
			t.Errorf("Write: %v", err)
		}
	})
}
