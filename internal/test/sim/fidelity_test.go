package sim

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/internal/test/redisserver"
)

const (
	drawScript    = "../../quorumlock/scripts/draw.lua"
	wakeScript    = "../../quorumlock/scripts/wake.lua"
	readersScript = "../../quorumlock/scripts/readers.lua"
)

// The library's scripts, by what calls them.
var libraryScripts = map[string][]string{
	"acquire":  {"../../quorumlock/scripts/draw.lua", "../../quorumlock/scripts/acquire.lua"},
	"extend":   {"../../quorumlock/scripts/extend.lua"},
	"raise":    {"../../quorumlock/scripts/bumpfence.lua"},
	"release":  {"../../quorumlock/scripts/wake.lua", "../../quorumlock/scripts/release.lua"},
	"leave":    {"../../quorumlock/scripts/wake.lua", "../../quorumlock/scripts/leave.lua"},
	"share":    {drawScript, wakeScript, readersScript, "../../quorumlock/scripts/share.lua"},
	"reread":   {wakeScript, readersScript, "../../quorumlock/scripts/shareextend.lua"},
	"reraise":  {readersScript, "../../quorumlock/scripts/sharebump.lua"},
	"unshare":  {wakeScript, readersScript, "../../quorumlock/scripts/sharerelease.lua"},
	"tell":     {readersScript, "../../quorumlock/scripts/announce.lua"},
	"write":    {"../../record/scripts/write.lua"},
	"read":     {"../../record/scripts/read.lua"},
	"promise":  {"../../record/scripts/promise.lua"},
	"leader":   {"../../keepalive/scripts/leader.lua"},
	"announce": {"../../keepalive/scripts/announce.lua"},

	"slot":         {"../../quorumlock/scripts/draw.lua", "../../quorumlock/scripts/limit.lua", "../../quorumlock/scripts/limitacquire.lua"},
	"raise slot":   {"../../quorumlock/scripts/limitraise.lua"},
	"extend slot":  {"../../quorumlock/scripts/limit.lua", "../../quorumlock/scripts/limitextend.lua"},
	"release slot": {"../../quorumlock/scripts/wake.lua", "../../quorumlock/scripts/limit.lua", "../../quorumlock/scripts/limitwake.lua", "../../quorumlock/scripts/limitrelease.lua"},
	"leave slot":   {"../../quorumlock/scripts/wake.lua", "../../quorumlock/scripts/limit.lua", "../../quorumlock/scripts/limitwake.lua", "../../quorumlock/scripts/limitleave.lua"},
}

// TestNode_AnswersAsRedis makes the same random calls of the library's scripts on a node's memory and on a real server.
func TestNode_AnswersAsRedis(t *testing.T) {
	nodes := harness.Real(t, 1, redisserver.Options{})
	server := redis.NewClient(&redis.Options{
		Addr: strings.TrimPrefix(nodes.URLs()[0], "redis://"), Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	defer server.Close()
	listener := listenerOf("p0") // the only process that listens
	sub := server.Subscribe(t.Context(), listener)
	defer sub.Close()
	if _, err := sub.Receive(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := newStore()
	s.unordered = func(string) {}
	s.publish = func(channel, _ string) int {
		if channel == listener {
			return 1
		}
		return 0
	}
	source := map[string]string{}
	for name, files := range libraryScripts {
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source[name] += string(text)
		}
	}

	floor := time.Now().Add(30 * time.Second).UnixMicro()
	seed := rand.Uint64()
	rng := rand.New(rand.NewPCG(seed, 0))
	for i := range 5000 {
		name, keys, args := drawCall(rng, floor)
		s.now = time.Now()
		how, script, ask := "eval", source[name], server.Eval
		if rng.IntN(2) == 0 { // by its hash, which they know if it was sent before
			how, script, ask = "evalsha", hashOf(script), server.EvalSha
		}
		ours := asText(s.do(slices.Concat([]string{how, script, strconv.Itoa(len(keys))}, keys, args)), nil)
		reply, err := ask(t.Context(), script, keys, args).Result()
		theirs := asText(reply, err)
		if ours != theirs {
			t.Fatalf("seed %d, call %d: %s %q %q: a node answers %s, Redis %s", seed, i, name, keys, args, ours, theirs)
		}
	}
}

const anHour = 3_600_000 // ms: no key of a call expires while the test lasts, and no remaining time is taken for a number

// drawCall draws a call on one of two locks. The floor is ahead of all clocks, so that a counter depends on none.
func drawCall(rng *rand.Rand, floor int64) (name string, keys, args []string) {
	oneOf := func(all ...string) string { return all[rng.IntN(len(all))] }
	number := func(from int64, n int) string { return strconv.FormatInt(from+int64(rng.IntN(n)), 10) }
	lock := oneOf("lock:a", "lock:b")
	part := func(what string) string { return "{" + lock + "}:" + what }
	value, process := oneOf("p0/1", "p1/2", "p2/3"), oneOf("p0", "p1", "p2")
	all := []string{lock, part("fence"), part("queue"), part("next")}
	hour := strconv.Itoa(anHour)
	if rng.IntN(3) == 0 {
		return drawSlotCall(rng, floor, append(all, part("slots"), part("until")), value, process+"/s")
	}
	shared := append(all, part("readers"))
	switch rng.IntN(20) {
	case 13, 14, 15:
		return "share", shared, []string{value, hour, process + "/shared", strconv.FormatInt(floor, 10), process, hour, hour, oneOf("0", "1"), oneOf("", "q", "c", "qc")}
	case 16:
		return "reread", []string{lock, part("queue"), part("readers")}, []string{value, hour, oneOf("", "1")}
	case 17:
		return "reraise", []string{lock, part("fence"), part("readers")}, []string{value, number(floor, 2000), hour, number(floor, 2000)}
	case 18:
		return "unshare", shared, []string{value, oneOf("0", hour), oneOf("", "1")}
	case 19:
		if rng.IntN(2) == 0 {
			return "tell", []string{lock, part("readers")}, []string{process, oneOf("0", hour)}
		}
		return "leave", all, []string{process + "/shared", oneOf("0", hour), oneOf("", "1"), oneOf("", "1")}
	case 0, 1, 2:
		return "acquire", all, []string{
			value, hour, number(1, 64), strconv.FormatInt(floor, 10), process, hour, hour, oneOf("0", "1"), oneOf("", "1"),
		}
	case 3:
		return "extend", all[:1], []string{value, hour}
	case 4:
		return "raise", all[:2], []string{value, number(floor, 2000), hour, number(floor, 2000), number(1, 64)}
	case 5, 6, 7:
		return "release", all, []string{value, oneOf("0", hour), oneOf("", "1")}
	case 8:
		return "leave", all, []string{process, oneOf("0", hour), oneOf("", "1"), oneOf("", "1")}
	case 9:
		token := number(floor, 2000)
		return "write", []string{part("record"), part("record:promise")}, []string{token, number(0, 3), token, oneOf("", "1"), oneOf("", "data", "\x00\r\n\xff"), hour}
	case 10:
		return "read", []string{part("record")}, nil
	case 11:
		return "promise", []string{part("record"), part("record:promise")}, []string{number(floor, 2000), hour}
	}
	if rng.IntN(2) == 0 {
		return "announce", []string{lock}, []string{oneOf(listenerOf("p0"), listenerOf("p1"))}
	}
	return "leader", []string{lock, part("record")}, nil
}

// drawSlotCall draws a call on a key with a limit.
func drawSlotCall(rng *rand.Rand, floor int64, keys []string, value, waiter string) (name string, _, args []string) {
	oneOf := func(all ...string) string { return all[rng.IntN(len(all))] }
	number := func(from int64, n int) string { return strconv.FormatInt(from+int64(rng.IntN(n)), 10) }
	hour, marker := strconv.Itoa(anHour), oneOf("limit:2", "limit:2", "limit:3")
	slots := strings.TrimPrefix(marker, "limit:")
	switch rng.IntN(8) {
	case 0, 1, 2:
		return "slot", keys, []string{value, hour, number(1, 64), strconv.FormatInt(floor, 10), waiter, hour, hour, marker, slots,
			number(0, 2), oneOf("a", "b"), slots, oneOf("0", "1"), oneOf("", "1")}
	case 3:
		return "raise slot", keys, []string{value, number(0, 2), number(floor, 100), number(floor, 2000), hour, number(0, 2), number(1, 64), marker}
	case 4:
		return "extend slot", keys, []string{value, hour, number(0, 2), marker, slots, "c"}
	case 5, 6:
		return "release slot", keys, []string{value, marker, oneOf("", "0", "1"), oneOf("0", hour), oneOf("", "1")}
	}
	return "leave slot", keys, []string{waiter, oneOf("0", hour), oneOf("", "1"), oneOf("", "1")}
}

func listenerOf(process string) string { return "redlock:wake:" + process }

// asText is a reply as text: errors without what they say, remaining times without how much has gone by.
func asText(v any, err error) string {
	switch v := v.(type) {
	case failure:
		return asText(nil, errors.New(string(v)))
	case int64:
		if v > anHour-anHour/10 && v <= anHour {
			return "an hour"
		}
		return strconv.FormatInt(v, 10)
	case string:
		return strconv.Quote(v)
	case []any:
		var all []string
		for _, x := range v {
			all = append(all, asText(x, nil))
		}
		return "{" + strings.Join(all, ", ") + "}"
	}
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		return fmt.Sprint(v)
	case strings.HasPrefix(err.Error(), "ERR"):
		return "an error"
	}
	return err.Error()
}
