package quorumlock

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

// The scripts of readers, each alone, on one node, as in scripts_test.go.

// shared runs a script with all keys that it takes of these.
func (b *bench) shared(src string, keys string, args ...any) any {
	b.t.Helper()
	all, some := sharedNames("lock:k"), []string{}
	for _, k := range keys {
		some = append(some, all[strings.IndexRune("lfqnr", k)])
	}
	return b.must(b.Clients[0].Eval(context.Background(), src, some, args...).Result())
}

// share asks for the key as a reader, and returns the reply.
func (b *bench) share(a ask) []any {
	b.t.Helper()
	word := ""
	if a.queue {
		word = "q"
	}
	return b.shared(drawSource+wakeSource+readersSource+shareSource, "lfqnr", a.value, scriptTTL, a.process+readerPlace, a.floor, a.process,
		scriptRetention, scriptMaxTTL, a.boot, word).([]any)
}

// reads has a process read the key, and returns the fence that it was granted.
func (b *bench) reads(process string) (fence int64) {
	b.t.Helper()
	words := b.share(ask{value: process + "/1/", process: process, queue: true})
	if words[0] != int64(1) {
		b.t.Fatalf("%s does not read: %v", process, words)
	}
	return words[1].(int64)
}

// waits has a process refused as a reader.
func (b *bench) waits(process, holder string) {
	b.t.Helper()
	if words := b.share(ask{value: process + "/1/", process: process, queue: true}); words[0] != int64(0) || words[2] != holder {
		b.t.Fatalf("%s is not refused by %q: %v", process, holder, words)
	}
}

func (b *bench) unshare(value string) any {
	b.t.Helper()
	return b.shared(wakeSource+readersSource+shareReleaseSource, "lfqnr", value, scriptReserve, "")
}

func (b *bench) renewShared(value string, ttl int64) string {
	b.t.Helper()
	return fmt.Sprint(b.shared(wakeSource+readersSource+shareExtendSource, "lqr", value, ttl, ""))
}

func (b *bench) readers() []string {
	b.t.Helper()
	return b.Clients[0].ZRange(context.Background(), sharedNames("lock:k")[4], 0, -1).Val()
}

// messages is what has come for those that hear, among which is the process end.
func (b *bench) messages(heard <-chan string) (all []string) {
	b.t.Helper()
	b.Clients[0].Publish(context.Background(), nodeset.Channel("end"), "")
	for {
		one := harness.Receive(b.t, "a message", heard)
		if one == "end " {
			return all
		}
		all = append(all, one)
	}
}

func expect(t *testing.T, what string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestScripts_Share_ReadersHoldTheKeyTogether(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.grant(ask{value: "P/1/", process: "P", floor: time.Now().Add(30 * time.Second).UnixMicro()})
		written := b.fence()
		b.waits("Q", "P/1/")
		b.release("P/1/")
		b.leave("Q" + readerPlace)
		for _, process := range []string{"Q", "R"} {
			expect(t, "a reader's fence", b.reads(process), written)
		}
		expect(t, "the key", b.Get(0, b.keys[0]), "shared")
		expect(t, "the counter", b.fence(), written)
		expect(t, "the readers", b.readers(), "[Q/1/ R/1/]")
		holder, left := b.refuse(ask{value: "P/2/", process: "P"})
		if holder != "shared" || left <= 0 || left > scriptTTL {
			t.Errorf("a writer is refused by %q for %d ms", holder, left)
		}
		expect(t, "a value that does not read", b.unshare("S/1/"), 0)
		expect(t, "the first leaves", b.unshare("Q/1/"), 1)
		expect(t, "it leaves again", b.unshare("Q/1/"), 0)
		expect(t, "the key", b.Get(0, b.keys[0]), "shared")
		expect(t, "the last leaves", b.unshare("R/1/"), 1)
		expect(t, "the last leaves again", b.unshare("R/1/"), 0)
		if got := b.snapshot(0); strings.Contains(got, "readers") || strings.Contains(got, "shared") {
			t.Errorf("left:\n%s", got)
		}
	})
}

// A grant says whether the process still has a place, which comes before the writers
// that wait and keeps them waiting.
func TestScripts_Share_AGrantReportsThePlaceOfTheReader(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.must(b.Clients[0].ZAdd(context.Background(), b.keys[2], redis.Z{Score: 4, Member: "P" + readerPlace}).Result())
		for value, want := range map[string]int{"P/2/": 1, "Q/1/": 0} {
			a := ask{value: value, process: value[:1]}
			expect(t, "whether "+value+" has a place", b.share(a)[3], want)
			expect(t, "whether it has, delivered again", b.share(a)[3], want)
		}
		b.leave("P" + readerPlace)
		expect(t, "whether it has, after it left", b.share(ask{value: "P/3/", process: "P"})[3], 0)
	})
}

// A counter that is not there, or below the floor, starts from the clock for a reader, too.
func TestScripts_Share_ACounterThatWasLostStartsFromTheClock(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		floor := time.Now().Add(30 * time.Second).UnixMicro()
		for i, boot := range []int64{0, floor + 1} {
			value := fmt.Sprintf("P/%d/", i)
			expect(t, "the fence", b.share(ask{value: value, process: "P", floor: floor, boot: boot})[1], floor)
			expect(t, "the counter", b.fence(), floor)
			b.unshare(value)
			b.Put(0, b.keys[1], "7", 0)
		}
	})
}

// The key lives as long as the reader that lives longest, whoever comes, renews or leaves.
func TestScripts_Share_TheKeyLivesAsLongAsItsLongestReader(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		lives := func(what string, ms int64) {
			t.Helper()
			for _, key := range []string{b.keys[0], sharedNames("lock:k")[4]} {
				if got := b.pttl(key).Milliseconds(); got > ms || got < ms-scriptTTL/2 {
					t.Errorf("%s: %q lives for %d ms, want %d", what, key, got, ms)
				}
			}
		}
		b.reads("P")
		b.renewShared("P/1/", 4*scriptTTL)
		lives("renewed", 4*scriptTTL)
		b.reads("Q")
		lives("another came", 4*scriptTTL)
		b.renewShared("Q/1/", 2*scriptTTL)
		lives("the other was renewed", 4*scriptTTL)
		b.unshare("P/1/")
		lives("the longest left", 2*scriptTTL)
	})
}

func TestScripts_Share_AReaderThatExpiredIsNone(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.reads("P")
		b.reads("Q")
		set := sharedNames("lock:k")[4]
		must(t, b.Clients[0].ZAdd(t.Context(), set, redis.Z{Score: float64(b.now().UnixMilli() - 1), Member: "P/1/"}).Err())
		expect(t, "its bump", b.shared(readersSource+shareBumpSource, "lfr", "P/1/", 1<<51, scriptRetention, 0), 0)
		expect(t, "its release", b.unshare("P/1/"), 0)
		expect(t, "the last release", b.unshare("Q/1/"), 1)
		expect(t, "the key", b.Get(0, b.keys[0]), "")
		b.reads("P")
		must(t, b.Clients[0].ZAdd(t.Context(), set, redis.Z{Score: float64(b.now().UnixMilli() - 1), Member: "P/1/"}).Err())
		expect(t, "its renewal", b.renewShared("P/1/", scriptTTL), "[2 0]")
		expect(t, "its next renewal", b.renewShared("P/1/", scriptTTL), "[1 0]")
	})
}

func TestScripts_ShareBump_NeedsTheReaderAndItsCounter(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		told := b.reads("P")
		bump := func(value string, to, reported int64) any {
			return b.shared(readersSource+shareBumpSource, "lfr", value, to, scriptRetention, reported)
		}
		expect(t, "another's bump", bump("Q/1/", told+5, told), 0)
		expect(t, "the counter", b.fence(), told)
		expect(t, "the bump", bump("P/1/", told+5, told), 1)
		expect(t, "the counter", b.fence(), told+5)
		expect(t, "the bump again", bump("P/1/", told+5, told), 1)
		expect(t, "a lower one", bump("P/1/", told+2, told), 1)
		expect(t, "the counter", b.fence(), told+5)
		b.Put(0, b.keys[1], "1", 0)
		expect(t, "the bump of a counter that was lost", bump("P/1/", told+5, told), 0)
		b.unshare("P/1/")
		b.grant(ask{value: "P/1/", process: "P"})
		expect(t, "the bump of a holder", bump("P/1/", 1<<51, 0), 0)
	})
}

// Readers wait for a writer that came before them, while others read.
func TestScripts_Share_AReaderWaitsForAWriterThatCameBefore(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P", "W", "R/shared")
		b.reads("P")
		b.refuse(ask{value: "W/1/", process: "W", queue: true})
		b.waits("R", "shared")
		expect(t, "the writer learns of the reader", harness.Receive(t, "a message", heard), "W plock:k")
		expect(t, "the queue", b.queue(), "[W R/shared]")
		expect(t, "a renewal", b.renewShared("P/1/", scriptTTL), "[1 1]")
		expect(t, "the writer learns of it", harness.Receive(t, "a message", heard), "W plock:k")
		b.leave("W")
		expect(t, "the reader is woken", harness.Receive(t, "a message", heard), "R/shared wlock:k")
		b.reads("R")
	})
}

func TestScripts_Share_AReaderWaitsForNoWriterBehindItNorOfItsProcess(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.hear("W", "R")
		b.grant(ask{value: "P/1/", process: "P"})
		b.refuse(ask{value: "R/9/", process: "R", queue: true})
		b.waits("R", "P/1/")
		b.refuse(ask{value: "W/1/", process: "W", queue: true})
		b.Clients[0].Del(t.Context(), b.keys[0])
		b.reads("Q") // nobody reads yet: who comes first
		b.reads("R")
		b.waits("S", "shared")
	})
}

func TestScripts_Share_AWriterThatIsDeadIsPassedOver(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("R/shared", "S/shared")
		b.reads("P")
		for _, w := range []string{"V", "W"} {
			b.refuse(ask{value: w + "/1/", process: w, queue: true})
		}
		b.Clients[0].ZAdd(t.Context(), b.keys[2], redis.Z{Score: 1 << 50, Member: "S/shared"})
		b.reads("R")
		expect(t, "the queue", b.queue(), "[S/shared]")
		expect(t, "who waited for the dead", harness.Receive(t, "a wake", heard), "S/shared wlock:k")
		b.refuse(ask{value: "W/1/", process: "W", queue: true})
		expect(t, "a renewal", b.renewShared("P/1/", scriptTTL), "[1 0]")
		expect(t, "the queue", b.queue(), "[S/shared]")
	})
}

// On a Redis Cluster a writer lives while it announces itself.
func TestScripts_Share_OnAClusterAWriterLivesWhileItAnnouncesItself(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("P")
		b.reads("P")
		b.refuse(ask{value: "W/1/", process: "W", queue: true})
		share := func() any {
			return b.shared(drawSource+wakeSource+readersSource+shareSource, "lfqnr", "R/1/", scriptTTL, "R/shared", 5, "R", scriptRetention, scriptMaxTTL, 0, "qc").([]any)[0]
		}
		announce := func(lives int64) {
			expect(t, "announce", b.shared(readersSource+announceSource, "lr", "W", lives), 1)
			expect(t, "the reader learns of it", harness.Receive(t, "a message", heard), "P qlock:k")
		}
		announce(60_000)
		expect(t, "a reader", share(), 0)
		must(t, b.Clients[0].ZAdd(t.Context(), sharedNames("lock:k")[4], redis.Z{Score: 5, Member: "W"}).Err())
		expect(t, "a reader when the writer is silent", share(), 1)
		expect(t, "the readers", b.readers(), "[P/1/ R/1/]")
		expect(t, "the queue", b.queue(), "[W R/shared]")
		announce(60_000)
		b.unshare("P/1/")
		expect(t, "the last release", b.unshare("R/1/"), 1)
		expect(t, "the key", b.Get(0, b.keys[0]), "")
	})
}

// A release wakes readers up to the next writer, and keeps the key for them.
func TestScripts_Release_WakesABatchOfReaders(t *testing.T) {
	for name, old := range map[string]bool{"this version": false, "the earlier version": true} {
		t.Run(name, func(t *testing.T) {
			onOneNode(t, func(t *testing.T, b *bench) {
				heard := b.hear("Q/shared", "R/shared", "S/shared", "W", "end")
				b.grant(ask{value: "P/1/", process: "P"})
				for _, process := range []string{"Q", "R"} {
					b.waits(process, "P/1/")
				}
				b.refuse(ask{value: "W/1/", process: "W", queue: true})
				b.waits("S", "P/1/")
				if old {
					(&earlier{rig: b.rig, keys: b.keys}).run(0, "wake+release", 4, "P/1/", scriptReserve, "")
					expect(t, "the wake", harness.Receive(t, "a wake", heard), "Q/shared wlock:k")
					b.refuse(ask{value: "P/2/", process: "P"})
					b.reads("Q")
					expect(t, "the wake", harness.Receive(t, "a wake", heard), "R/shared wlock:k")
				} else {
					b.release("P/1/")
					expect(t, "the key is kept for", b.Get(0, b.keys[3]), "shared")
					expect(t, "the wakes", b.messages(heard), "[Q/shared wlock:k R/shared wlock:k]")
					holder, _ := b.refuse(ask{value: "P/2/", process: "P"})
					expect(t, "who comes by is refused by", holder, "")
					b.waits("T", "") // the writer came before it
					expect(t, "the writer is asked", b.messages(heard), "[W plock:k]")
				}
				for _, process := range []string{"R", "Q"} { // in any order
					b.reads(process)
					b.stepOut(process + readerPlace)
				}
				b.waits("S", "shared")
				b.unshare("Q/1/")
				b.unshare("R/1/")
				expect(t, "the key is kept for", b.Get(0, b.keys[3]), "W")
				b.grant(ask{value: "W/1/", process: "W"})
			})
		})
	}
}

// A reader that leaves passes its turn on when no other has it.
func TestScripts_Leave_ReadersShareATurn(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		b.hear("Q/shared", "R/shared", "W")
		b.grant(ask{value: "P/1/", process: "P"})
		b.waits("Q", "P/1/")
		b.waits("R", "P/1/")
		b.refuse(ask{value: "W/1/", process: "W", queue: true})
		b.release("P/1/")
		b.leave("Q/shared")
		expect(t, "the key is kept for", b.Get(0, b.keys[3]), "shared")
		b.leave("R/shared")
		expect(t, "the key is kept for", b.Get(0, b.keys[3]), "W")
	})
}

// A holder becomes a reader by the renewal of one. Where that does not arrive, its release frees the key all the same.
func TestScripts_ShareExtend_MakesAReaderOfAHolder(t *testing.T) {
	onOneNode(t, func(t *testing.T, b *bench) {
		heard := b.hear("R/shared")
		b.grant(ask{value: "P/1/", process: "P"})
		b.waits("R", "P/1/")
		expect(t, "another's", b.renewShared("Q/1/", scriptTTL), "[0 P/1/]")
		for range 2 {
			expect(t, "the downgrade", b.renewShared("P/1/", scriptTTL), "[1 0]")
			expect(t, "the readers", b.readers(), "[P/1/]")
		}
		expect(t, "who waits is woken", harness.Receive(t, "a wake", heard), "R/shared wlock:k")
		b.reads("R")
		b.stepOut("R/shared")
		expect(t, "a late renewal of the holder", fmt.Sprint(b.extend("P/1/", scriptTTL)), "[0 shared]")
		b.unshare("P/1/")
		b.unshare("R/1/")
		expect(t, "a renewal of what is gone", b.renewShared("P/1/", scriptTTL), "[2 0]")
		b.unshare("P/1/")
		b.grant(ask{value: "P/1/", process: "P"})
		expect(t, "the release", b.unshare("P/1/"), 1)
		expect(t, "the key", b.Get(0, b.keys[0]), "")
		b.grant(ask{value: "Q/1/", process: "Q"})
		expect(t, "the release of another's", b.unshare("P/1/"), 2)
	})
}

// What earlier readers left beside the key does not read, once another has held it.
func TestScripts_Share_ReadersEndWithTheMarker(t *testing.T) {
	for name, step := range map[string]func(b *bench){
		"acquire": func(b *bench) { b.reads("Q") },
		"renew":   func(b *bench) { expect(b.t, "a renewal", b.renewShared("Q/1/", scriptTTL), "[2 0]") },
	} {
		t.Run(name, func(t *testing.T) {
			onOneNode(t, func(t *testing.T, b *bench) {
				b.reads("P")
				b.Clients[0].Del(t.Context(), b.keys[0])
				step(b)
				expect(t, "the readers", b.readers(), "[Q/1/]")
				if got := b.pttl(sharedNames("lock:k")[4]); got <= 0 {
					t.Errorf("the set lives for %v", got)
				}
			})
		})
	}
}

// Each script is delivered twice in a row, as in scripts_test.go.
func TestScripts_Share_ASecondDeliveryChangesNothing(t *testing.T) {
	steps := map[string]func(b *bench) any{
		"share":   func(b *bench) any { return b.share(ask{value: "P/1/", process: "P"}) },
		"refused": func(b *bench) any { return b.share(ask{value: "S/1/", process: "S", queue: true})[0] },
		"renew":   func(b *bench) any { return b.renewShared("R/1/", scriptTTL) },
		"release": func(b *bench) any { b.unshare("R/1/"); return nil },
		"bump": func(b *bench) any {
			return b.shared(readersSource+shareBumpSource, "lfr", "R/1/", 1<<51, scriptRetention, 5)
		},
		"announce": func(b *bench) any {
			return b.shared(readersSource+announceSource, "lr", "W", 60_000)
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			onOneNode(t, func(t *testing.T, b *bench) {
				b.hear("W")
				b.reads("R")
				if name == "refused" {
					b.refuse(ask{value: "W/1/", process: "W", queue: true})
				}
				names := func() string { // without when they expire, which a second delivery may move
					return fmt.Sprint(b.Get(0, b.keys[0]), b.Get(0, b.keys[1]), b.queue(), b.Get(0, b.keys[3]), b.readers())
				}
				first, left := fmt.Sprint(step(b)), names()
				second := fmt.Sprint(step(b))
				if second != first || names() != left {
					t.Errorf("it answers %s and then %s, and leaves\n%s\nand then\n%s", first, second, left, names())
				}
			})
		})
	}
}

func TestReadShareExtension_OfRepliesOutOfForm(t *testing.T) {
	for _, reply := range []any{nil, int64(1), []any{int64(1), "1"}, []any{int64(3), int64(0)}, []any{int64(1), int64(7)}, []any{"1", int64(0)},
		[]any{int64(0), int64(1)}, []any{int64(1), int64(0), int64(0)}} {
		if r, _, _, err := readShareExtension(reply, nil); err == nil || r != Failed {
			t.Errorf("%v is taken for %v", reply, r)
		}
	}
	if r, _, writers, err := readShareExtension([]any{int64(1), int64(1)}, nil); r != Granted || !writers || err != nil {
		t.Error(r, writers, err)
	}
	if r, _, _, err := readShareExtension([]any{int64(1)}, nil); r != Granted || err != nil { // of the renewal before a downgrade
		t.Error(r, err)
	}
}

func TestReadReaders_SkipsWhatIsNone(t *testing.T) {
	value := strings.Repeat("p", processLen) + "/1/host:7/me"
	got := readReaders([]any{value, int64(500), "process", int64(500), value, "500", value, int64(-1), value})
	if !slices.Equal(got, []Reader{{readValue(value), 500 * time.Millisecond}}) {
		t.Error(got)
	}
}
