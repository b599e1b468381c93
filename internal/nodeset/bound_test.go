package nodeset

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// fits are replies that nodes send.
var fits = []string{
	"+OK\r\n", "-ERR no\r\n", ":-7\r\n", "$5\r\nhello\r\n", "$0\r\n\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n", "_\r\n", "#t\r\n", ",-1.5e9\r\n", "(-999999999999999999999\r\n",
	"*3\r\n:1\r\n:1795577563601922\r\n:0\r\n", "*2\r\n*1\r\n$3\r\n*9\n\r\n%1\r\n+a\r\n*0\r\n", "=9\r\ntxt:*1234\r\n", "!5\r\nERR x\r\n",
	">3\r\n+message\r\n$3\r\n*99\r\n$1\r\nx\r\n", "|1\r\n+ttl\r\n:3\r\n+OK\r\n", "~2\r\n:1\r\n:2\r\n", "+*99999999999\r\n", "-MOVED 99999999999 a:1\r\n",
	"*1000\r\n" + strings.Repeat(":1\r\n", 1000),
}

func TestReplyBound_LetsReadWhatNodesSend(t *testing.T) {
	for range 200 {
		var all strings.Builder
		for range 50 {
			all.WriteString(fits[rand.IntN(len(fits))])
		}
		var r replyBound
		for rest := []byte(all.String()); len(rest) > 0; {
			n := min(len(rest), 1+rand.IntN(40))
			if err := r.take(rest[:n]); err != nil {
				t.Fatalf("%v in %q", err, all.String())
			}
			rest = rest[n:]
		}
		if len(r.open) > 0 || r.words != 0 || r.skip != 0 || r.kind != 0 {
			t.Fatalf("it is out of step after %q: %+v", all.String(), r)
		}
	}
	var large replyBound
	if err := large.take([]byte("$67200000\r\n")); err != nil {
		t.Errorf("the largest value of a cache: %v", err)
	}
	long := []byte("*" + "100000\r\n" + strings.Repeat(":1\r\n", 100_000))
	var r replyBound
	for range 100 { // the bound is for one reply
		if err := r.take(long); err != nil {
			t.Fatal(err)
		}
	}
}

// absurd are replies that no node sends, and of which any suffices to end a
// process that reads it.
var absurd = map[string]string{
	"array":             "*2147483647\r\n",
	"array of arrays":   strings.Repeat("*1000000\r\n", 10),
	"array after reply": "+OK\r\n*3\r\n:1\r\n*999999999999999999999\r\n",
	"map":               "%2147483647\r\n",
	"set":               "~2147483647\r\n",
	"push":              ">2147483647\r\n",
	"attributes":        "|2147483647\r\n",
	"depth":             strings.Repeat("*1\r\n", 1000),
	"string":            "$2147483647\r\n",
	"verbatim":          "=9999999999\r\n",
	"large string":      "$100000000\r\n",
	"line":              "+" + strings.Repeat("x", 2<<20),
}

func TestReplyBound_RefusesWhatNoNodeSends(t *testing.T) {
	for name, reply := range absurd {
		var r replyBound
		if err := r.take([]byte(reply)); !errors.Is(err, errReply) {
			t.Errorf("%s: %v", name, err)
		}
		if err := r.take([]byte("+OK\r\n")); !errors.Is(err, errReply) {
			t.Errorf("%s, and then an answer: %v", name, err)
		}
	}
}

// Only those are sent that do no harm where they are read.
func TestDial_AnAbsurdReplyIsAnError(t *testing.T) {
	for _, name := range []string{"depth", "line"} {
		reply := absurd[name]
		t.Run(name, func(t *testing.T) {
			here, there := net.Pipe()
			defer there.Close()
			go func() {
				_, _ = there.Read(make([]byte, 4<<10))
				_, _ = io.WriteString(there, reply)
			}()
			o := &redis.Options{Protocol: 2, DisableIdentity: true, Dialer: func(context.Context, string, string) (net.Conn, error) { return here, nil }}
			tuning{timeout: unhurried, onConnect: func(context.Context, *redis.Conn) error { return nil }}.single(o)
			client := redis.NewClient(o)
			defer client.Close()
			if err := client.Ping(t.Context()).Err(); !errors.Is(err, errReply) {
				t.Errorf("it ended by %v", err)
			}
		})
	}
}

// The price of a reply, beside the hundred microseconds that it takes to come.
func BenchmarkReplyBound_Take(b *testing.B) {
	reply := []byte("*3\r\n:1\r\n:1795577563601922\r\n:0\r\n")
	var r replyBound
	for b.Loop() {
		if err := r.take(reply); err != nil {
			b.Fatal(err)
		}
	}
}
