package waitqueue

import (
	"context"
	"testing"
	"time"
)

// sharing is a lease that can be shared for as long as it is open.
type sharing struct {
	open   bool
	joined int
	asked  int
}

func (s *sharing) Join(Request) any {
	if !s.open {
		return nil
	}
	s.joined++
	return s.joined
}

func (s *sharing) Ask() { s.asked++ }

var toRead = Request{Want: Want{Shared: true}, Parent: context.Background()}

// read is the lease that a reader gets at once, or its place.
func read(t *testing.T, qs *Queues) (lease any, c *Caller) {
	t.Helper()
	lease, _, c, _, ok := qs.EnterShared("a", toRead, true)
	if !ok {
		t.Fatal("a reader that waits has no place")
	}
	return lease, c
}

// held is a queue whose first reader holds the key.
func shared(t *testing.T, qs *Queues) (*Queue, *sharing) {
	t.Helper()
	lease, q, c, _, ok := qs.EnterShared("a", toRead, true)
	if lease != nil || c != nil || !ok {
		t.Fatal("the first reader is not to ask")
	}
	s := &sharing{open: true}
	q.BeginAttempt(false, now)
	q.AcquiredShared(toRead.Want, s)
	return q, s
}

func TestEnterShared_JoinsOnlyWhereNobodyWaits(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	if lease, c := read(t, qs); lease != 1 || c != nil {
		t.Fatalf("a second reader got %v, %v", lease, c)
	}
	qs.NoteRemoteWait("a", now)
	lease, third := read(t, qs)
	if lease != nil || s.asked != 1 || !q.Awaited() {
		t.Errorf("it got %v while another process waits; the nodes were asked %d times", lease, s.asked)
	}
	if q.NobodyWaits(now) || len(third.Turn) > 0 { // as was known when that was asked
		t.Error("an answer to an earlier question counts")
	}
	if !q.NobodyWaits(now.Add(time.Second)) || turn(t, third) != 2 {
		t.Error("the reader does not join when nobody waits any more")
	}
	_, writer := enter(t, qs, "a", Want{})
	if lease, fourth := read(t, qs); lease != nil || s.asked != 1 {
		t.Errorf("it got %v behind a writer; asked: %d", lease, s.asked)
	} else {
		q.GiveUp(writer)
		if turn(t, fourth) != 3 {
			t.Error("the reader does not join when the writer has given up")
		}
	}
	s.open = false
	if lease, last := read(t, qs); lease != nil || len(last.Turn) > 0 {
		t.Error("a reader joined what cannot be shared any more")
	} else if q.Ended(); turn(t, last) != nil {
		t.Error("it is not its turn to ask")
	}
	q.Refused()
	if qs.Keys() != 0 {
		t.Error("a queue is left")
	}
}

// A writer of this process hides from the reader behind it that another process
// waits as well.
func TestGiveUp_OfAWriterAsksForTheReaderBehindIt(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	qs.NoteRemoteWait("a", now)
	_, writer := enter(t, qs, "a", Want{})
	_, reader := read(t, qs)
	if s.asked > 0 {
		t.Fatal("the nodes are asked for a reader that waits for another")
	}
	q.GiveUp(writer)
	if s.asked != 1 || len(reader.Turn) > 0 {
		t.Errorf("the nodes are asked %d times whether the other process waits", s.asked)
	}
}

func TestEnterShared_ReadersOfOtherLeasesDoNotQueue(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	others := Request{Want: Want{By: "others", Shared: true}}
	if lease, _, c, _, _ := qs.EnterShared("a", others, true); lease != (Unqueued{}) || c != nil {
		t.Errorf("it got %v, %v", lease, c)
	}
	_, writer := enter(t, qs, "a", Want{})
	lease, _, reader, _, _ := qs.EnterShared("a", others, true)
	if lease != nil {
		t.Fatal("it passes a writer that waits here")
	}
	if q.GiveUp(writer); turn(t, reader) != (Unqueued{}) || s.joined > 0 {
		t.Error("it does not ask when the writer has given up")
	}
}

// Where only readers are, a reader that does not wait is refused by nobody here.
func TestEnterShared_AReaderThatDoesNotWaitDoesNotQueue(t *testing.T) {
	qs := New(3, 2)
	try := func() (lease any, ok bool) {
		lease, _, _, _, ok = qs.EnterShared("a", toRead, false)
		return lease, ok
	}
	_, q, _, _, _ := qs.EnterShared("a", toRead, true)
	if lease, ok := try(); lease != (Unqueued{}) || !ok {
		t.Errorf("while a reader asks: %v, %v", lease, ok)
	}
	s := &sharing{}
	q.AcquiredShared(toRead.Want, s)
	if lease, ok := try(); lease != (Unqueued{}) || !ok {
		t.Errorf("while the last reader leaves: %v, %v", lease, ok)
	}
	_, writer := enter(t, qs, "a", Want{})
	if lease, ok := try(); lease != nil || ok {
		t.Errorf("while a writer waits here: %v, %v", lease, ok)
	}
	if q.Ended(); turn(t, writer) != nil {
		t.Fatal("it is not the writer's turn")
	}
	if lease, ok := try(); lease != nil || ok {
		t.Errorf("while a writer asks: %v, %v", lease, ok)
	}
	q.Refused()
}

func TestAcquiredShared_AdmitsTheReadersUpToTheNextWriter(t *testing.T) {
	qs := New(3, 2)
	q, _ := enter(t, qs, "a", Want{})
	q.Acquired(Want{})
	_, one := read(t, qs)
	_, two := read(t, qs)
	_, writer := enter(t, qs, "a", Want{})
	_, three := read(t, qs)
	q.Ended()
	if turn(t, one) != nil {
		t.Fatal("the first reader is not to ask")
	}
	q.AcquiredShared(toRead.Want, &sharing{open: true})
	if turn(t, two) != 1 || len(writer.Turn)+len(three.Turn) > 0 {
		t.Error("not the readers before the writer alone")
	}
	q.Ended()
	if turn(t, writer) != nil || len(three.Turn) > 0 {
		t.Error("the writer is not to ask")
	}
}

func TestDowngraded_NeedsTheLeaseAndAdmitsReaders(t *testing.T) {
	qs := New(3, 2)
	q, _ := enter(t, qs, "a", Want{})
	s := &sharing{open: true}
	if q.Downgraded(toRead.Want, s, func() bool { return true }) {
		t.Error("downgraded while it is asked for")
	}
	q.Acquired(Want{})
	if q.Downgraded(toRead.Want, s, func() bool { return false }) || s.joined > 0 {
		t.Error("downgraded though the lease is over")
	}
	_, reader := read(t, qs)
	if !q.Downgraded(toRead.Want, s, func() bool { return true }) || turn(t, reader) != 1 {
		t.Error("the reader is not admitted")
	}
}

func TestLeave_ReadersHaveAPlaceOfTheirOwn(t *testing.T) {
	qs := New(3, 2)
	writer, reader := qs.Contend("a"), qs.ContendShared("a")
	var calls []bool
	leave := func(others bool) { calls = append(calls, others) }
	qs.Leave(reader, true, leave)
	qs.Leave(writer, false, leave)
	if len(calls) != 1 || calls[0] {
		t.Errorf("leave was called with %v", calls)
	}
}

func TestUnlessWritten_OnlyWriters(t *testing.T) {
	qs := New(3, 2)
	called := func() (yes bool) {
		qs.UnlessWritten("a", func() { yes = true })
		return yes
	}
	if !called() {
		t.Error("not where nobody contends")
	}
	qs.ContendShared("a")
	if !called() {
		t.Error("not where a reader contends")
	}
	qs.Contend("a")
	if called() {
		t.Error("where a writer contends")
	}
}
