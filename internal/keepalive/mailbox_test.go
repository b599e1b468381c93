package keepalive

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/waitqueue"
)

// waitsForSomebody makes nodes on which somebody else has the key, and Leases that wait for it and are woken or look by no timer.
func waitsForSomebody(t *testing.T, n int) (nodes memory, s *Leases, w <-chan result) {
	t.Helper()
	nodes = newMemory(t, n)
	for _, node := range nodes {
		node.Set("lock:job", "somebody")
	}
	s = lease(t, nodes.open(t, &gate{}), Config{TTL: long, Backoff: hourly})
	<-s.opened
	w = await(t.Context(), s, "job", Request{})
	synctest.Wait()
	return nodes, s, w
}

// Each look asks all nodes, so one node must not decide how often a waiter looks.
func TestWait_OneNodeDoesNotDecideHowOftenItRetries(t *testing.T) {
	for name, news := range map[string]func(nodes memory, s *Leases){
		"wakes": func(nodes memory, s *Leases) { nodes[0].Publish(nodeset.Channel(s.c.Process()), "wlock:job") },
		"gaps":  func(_ memory, s *Leases) { mailbox{s.c}.Gap(s.c.Nodes()[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			virtually(t, func(t *testing.T) {
				const seconds = 20
				nodes, s, w := waitsForSomebody(t, 3)
				before := nodes[1].CommandCount()
				s.queues.Retry("lock:job")
				synctest.Wait()
				each := nodes[1].CommandCount() - before // commands of one look
				for range seconds * 1000 {
					news(nodes, s)
					time.Sleep(time.Millisecond)
				}
				if looks := (nodes[1].CommandCount() - before) / each; looks < seconds/2 || looks > 2*seconds {
					t.Errorf("another node was asked %d times in %d seconds", looks, seconds)
				}

				// It still helps to make a quorum.
				for _, node := range nodes {
					node.Del("lock:job")
				}
				start := time.Now()
				for _, node := range nodes[:2] {
					node.Publish(nodeset.Channel(s.c.Process()), "wlock:job")
				}
				r := <-w
				if took := r.at.Sub(start); r.err != nil || took != 0 {
					t.Errorf("it looked %v after a quorum had woken it: %v", took, r.err)
				}
				release(t, r.l)
			})
		})
	}
}

func TestWake_OfADoubtedNodeIsRemembered(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, s, w := waitsForSomebody(t, 3)
		wake := func() {
			mailbox{s.c}.Message(s.c.Nodes()[0], "wlock:job")
			synctest.Wait()
		}
		for range 10 {
			wake()
			time.Sleep(2 * waitqueue.MaxDoubt)
		}
		wake()
		time.Sleep(waitqueue.MaxDoubt / 2) // it has looked, and the node is doubted
		wake()
		for _, node := range nodes {
			node.Del("lock:job")
		}
		start := time.Now()
		r := <-w
		if took := r.at.Sub(start); r.err != nil || took > waitqueue.MaxDoubt {
			t.Errorf("it looked after %v: %v", took, r.err)
		}
		release(t, r.l)
	})
}

// What another process's wait is announced by may have been lost with the connection.
func TestContended_AfterAGapInTheMailbox(t *testing.T) {
	virtually(t, func(t *testing.T) {
		s := lease(t, newMemory(t, 3).open(t, &gate{}), Config{})
		<-s.opened
		l, other := locked(t, s, "job", Request{}), locked(t, s, "other", Request{})
		mailbox{s.c}.Message(s.c.Nodes()[0], "qlock:other")
		since := contended(other)
		time.Sleep(time.Second)
		mailbox{s.c}.Gap(s.c.Nodes()[1])
		if got := contended(l); !got.Equal(time.Now()) {
			t.Errorf("contended since %v", got)
		}
		if got := contended(other); !got.Equal(since) {
			t.Errorf("contended since %v, no more since %v", got, since)
		}
	})
}

// A connection that broke unnoticed delivers nothing and fails nothing.
func TestContended_WhenTheMailboxIsSilent(t *testing.T) {
	virtually(t, func(t *testing.T) {
		cable := &gate{}
		s := lease(t, newMemory(t, 3).open(t, cable), Config{TTL: long})
		<-s.opened
		l := locked(t, s, "job", Request{})
		time.Sleep(time.Minute)
		if since := contended(l); !since.IsZero() {
			t.Fatalf("contended since %v", since)
		}
		cable.cut()
		time.Sleep(long / 3)
		if contended(l).IsZero() || l.Err() != nil {
			t.Errorf("contended since %v; it ended by %v", contended(l), l.Err())
		}
		cable.closed.Store(false)
		time.Sleep(long / 3) // the subscriptions are made again: go-redis holds a mutex while it waits for that
	})
}

// Where grants do not count, each look keeps the key from others for nothing.
func TestWait_WhoseGrantsDoNotCountRetriesByItsTimer(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, s, w := waitsForSomebody(t, 3)
		for _, node := range nodes {
			node.Set("{lock:job}:fence", strconv.FormatInt(time.Now().AddDate(60, 0, 0).UnixMicro(), 10))
			node.Del("lock:job")
		}
		wake := func() {
			for _, node := range nodes {
				node.Publish(nodeset.Channel(s.c.Process()), "wlock:job")
			}
			synctest.Wait()
		}
		wake()
		before := nodes[0].CommandCount()
		for range 100 {
			wake()
			time.Sleep(time.Millisecond)
		}
		if sent := nodes[0].CommandCount() - before; sent > 1 { // whether the mailbox still stands
			t.Errorf("it sent %d commands for wakes", sent)
		}
		for _, node := range nodes {
			node.Del("{lock:job}:fence")
		}
		s.queues.Retry("lock:job")
		r := <-w
		must(t, r.err)
		release(t, r.l)
	})
}

// Readers of other processes ask whether this one waits to write, also with each
// renewal. That is no wait of theirs.
func TestAsk_IsNoWait(t *testing.T) {
	virtually(t, func(t *testing.T) {
		_, s, _ := waitsForSomebody(t, 3)
		q, _, _, ok := s.queues.Enter("lock:job", waitqueue.Request{}, true)
		if !ok || q == nil {
			t.Fatal("it is not the first")
		}
		waited := func(text string) bool {
			mailbox{s.c}.Message(s.c.Nodes()[0], text)
			return !s.queues.Snapshot("lock:job").RemoteWait.IsZero()
		}
		if waited("plock:job") {
			t.Error("a question is taken for a wait")
		}
		if !waited("qlock:job") {
			t.Error("an announcement is not")
		}
		q.Refused()
	})
}

// A turn that came for a place whose leave was lost.
func TestUnclaimed_ATurnForASlotIsPassedOnBesideOneThatWantsTheWholeKey(t *testing.T) {
	virtually(t, func(t *testing.T) {
		nodes, s, _ := waitsForSomebody(t, 3)
		place := s.c.Process() + "/s"
		if _, err := nodes[0].ZAdd("{lock:job}:queue", 1, place); err != nil {
			t.Fatal(err)
		}
		nodes[0].Publish(nodeset.Channel(s.c.Process()), "s0:lock:job")
		synctest.Wait()
		if places, _ := nodes[0].SortedSet("{lock:job}:queue"); places[place] != 0 {
			t.Error("the place is still in the queue, and keeps the slot from others")
		}
	})
}
