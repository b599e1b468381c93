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

// A contender that has no part in the queue, as one of Acquire, keeps later readers
// from the key until it has it, or gives up.
func TestContend_ToWriteHoldsBackReadersThatComeLater(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	writer, second := qs.Contend("a"), qs.Contend("a")
	if lease, _, _, _, ok := qs.EnterShared("a", toRead, false); lease != nil || ok {
		t.Errorf("a reader that does not wait got %v, %t", lease, ok)
	}
	other := Request{Want: Want{By: "others", Shared: true}, Parent: context.Background()}
	if lease, _, _, _, ok := qs.EnterShared("a", other, false); lease != nil || ok {
		t.Errorf("one of other Leases got %v, %t", lease, ok)
	}
	lease, waits := read(t, qs)
	if lease != nil || !q.Awaited() {
		t.Fatalf("a reader that waits got %v", lease)
	}
	qs.NoteRemoteWait("a", now)
	if q.NobodyWaits(now.Add(time.Second)); len(waits.Turn) > 0 {
		t.Error("it joins because no other process waits")
	}
	leave := func(bool) {}
	if qs.Leave(second, false, leave); len(waits.Turn) > 0 {
		t.Error("it joins when one of two writers has given up")
	}
	if qs.Leave(writer, false, leave); turn(t, waits) != 1 || s.joined != 1 {
		t.Error("it does not join when the last writer has given up")
	}
}

// Writers that overlap, too, let readers in that came before the last of them.
func TestContend_ToWriteHoldsBackNoReadersThatCameBefore(t *testing.T) {
	qs := New(3, 2)
	leave := func(bool) {}
	q, s := shared(t, qs)
	first := qs.Contend("a")
	_, joins := read(t, qs)
	second := qs.Contend("a")
	if qs.Leave(first, false, leave); turn(t, joins) != 1 || s.joined != 1 {
		t.Error("a reader does not join because a later writer waits")
	}
	_, asks := read(t, qs)
	third := qs.Contend("a")
	q.Ended()
	if len(asks.Turn) > 0 {
		t.Error("a reader asks beside an earlier writer")
	}
	if qs.Leave(second, false, leave); turn(t, asks) != nil {
		t.Error("a reader does not ask because a later writer waits")
	}
	q.Refused()
	qs.Leave(third, false, leave)
	if qs.Keys() != 0 {
		t.Error("a queue is left")
	}
}

// A writer that is never the one to acquire the key keeps no reader from it.
func TestContend_ToWriteHoldsBackReadersForOneAcquisition(t *testing.T) {
	qs := New(3, 2)
	leave := func(bool) {}
	unlucky, second := qs.Contend("a"), qs.Contend("a")
	q, asks, _, _ := qs.Enter("a", Request{Want: Want{Shared: true}}, true)
	if asks == nil {
		t.Fatal("a reader asks beside writers")
	}
	second.Won = true
	if qs.Leave(second, false, leave); turn(t, asks) != nil {
		t.Error("it waits on when a writer has had the key")
	}
	_, behind := read(t, qs)
	s := &sharing{open: true}
	if q.AcquiredShared(toRead.Want, s); len(behind.Turn) > 0 {
		t.Error("one that came after that passes the other writer")
	}
	third := qs.Contend("a")
	if qs.Leave(third, false, leave); len(behind.Turn) > 0 {
		t.Error("one that gave up counts")
	}
	q.Ended()
	unlucky.Won = true
	if qs.Leave(unlucky, false, leave); turn(t, behind) != nil {
		t.Error("it waits on when the other writer has had the key, too")
	}
	if q.Refused(); qs.Keys() != 0 {
		t.Error("a queue is left")
	}
}

// The announcement of a writer of this process is not told from that of another. The
// nodes say whether it was the only one.
func TestContend_TheNodesAreAskedForAReaderWhenAWriterHasGivenUp(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	writer := qs.Contend("a")
	qs.NoteRemoteWait("a", now)
	_, waits := read(t, qs)
	if qs.Leave(writer, true, func(bool) {}); s.asked != 1 || len(waits.Turn) > 0 {
		t.Errorf("the nodes are asked %d times whether another process waits", s.asked)
	}
	if !q.NobodyWaits(now.Add(time.Second)) || turn(t, waits) != 1 {
		t.Error("it does not join when nobody waits any more")
	}
}

// While nobody holds the key, a reader asks only when no writer of its process does,
// and those that come later queue behind it.
func TestContend_ToWriteKeepsReadersFromAsking(t *testing.T) {
	qs := New(3, 2)
	q, s := shared(t, qs)
	_, first := enter(t, qs, "a", Want{})
	writer := qs.Contend("a")
	_, second := read(t, qs)
	q.Ended()
	if turn(t, first) != nil {
		t.Fatal("it is not the first writer's turn")
	}
	if q.Refused(); len(second.Turn) > 0 {
		t.Fatal("a reader asks beside a writer")
	}
	_, third := enter(t, qs, "a", Want{})
	if _, c, _, ok := qs.Enter("a", Request{}, false); ok || c != nil || third == nil {
		t.Error("later callers pass the reader that waits")
	}
	if q.GiveUp(second); turn(t, third) != nil {
		t.Error("a writer waits for another that has no part in the queue")
	}
	q.Refused()
	_, last := read(t, qs)
	if last == nil {
		t.Fatal("a reader asks beside a writer")
	}
	if qs.Leave(writer, false, func(bool) {}); turn(t, last) != nil {
		t.Error("it is not the reader's turn when the writer has left")
	}
	if q.Refused(); qs.Keys() != 0 || s.joined > 0 {
		t.Error("a queue is left")
	}
}

// It is no writer for a moment: that would hold back readers, and nothing would let
// them go on.
func TestContendShared_HoldsBackNobody(t *testing.T) {
	qs := New(3, 2)
	shared(t, qs)
	reader := qs.ContendShared("a")
	if lease, c := read(t, qs); lease != 1 || c != nil {
		t.Errorf("a reader got %v, %v beside one that asks", lease, c)
	}
	qs.Leave(reader, false, func(bool) {})
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
