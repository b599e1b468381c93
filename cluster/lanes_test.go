package cluster

import (
	"testing"
)

var yieldScript = NewScript("yield", `return 1`).Yielding()

// taken is what a stream yields, and lets come in after its first batch.
func taken(s *stream, after func()) (all [][]call) {
	s.batches(func(calls []call) bool {
		all = append(all, append([]call(nil), calls...))
		if len(all) == 1 && after != nil {
			after()
		}
		return true
	})
	return all
}

func TestUrgentCommandsWaitForOneBatchOfYieldingOnesAtMost(t *testing.T) {
	s := &stream{bell: make(chan struct{}, 1)}
	lock, move := call{Command: pingScript.Command(nil)}, call{Command: yieldScript.Command([]string{"key"})}
	for range 1000 {
		s.put(move, 1000)
	}
	if !s.put(lock, 1) {
		t.Error("what yields takes the room of what does not")
	}
	if s.put(lock, 1) || s.put(move, 1000) {
		t.Error("more than the limit was taken")
	}
	all := taken(s, func() { s.put(lock, 2); s.close() })
	if len(all) < 4 || all[0][0].yields() || all[2][0].yields() {
		t.Fatalf("an urgent command was not sent next; %d batches", len(all))
	}
	for i := range 2 {
		if len(all[2*i]) != 1 || len(all[2*i+1]) > maxYieldBatch {
			t.Errorf("batches of %d and %d", len(all[2*i]), len(all[2*i+1]))
		}
	}
	sum := 0
	for _, some := range all {
		s.answered(some)
		sum += len(some)
	}
	if sum != 1002 || s.queued() != 0 {
		t.Errorf("%d commands were sent, %d are queued", sum, s.queued())
	}
}

func TestABatchIsBoundedInWords(t *testing.T) {
	for _, script := range []*Script{pingScript, yieldScript} {
		s := &stream{bell: make(chan struct{}, 1)}
		most := maxWords
		if script.yields {
			most = maxYieldWords
		}
		long := call{Command: script.Command(make([]string, 300))}
		for range 100 {
			s.put(long, 1000)
		}
		s.put(call{Command: script.Command(make([]string, 2*maxWords))}, 1000)
		s.close()
		all, sum := taken(s, nil), 0
		for _, some := range all {
			sum += len(some)
			if words := len(some) * len(long.words); len(some) > 1 && words > most {
				t.Errorf("%d words in one batch", words)
			}
		}
		if sum != 101 || len(all[len(all)-1]) != 1 {
			t.Errorf("%d commands were sent", sum)
		}
	}
}
