package main

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/venta-hq/redlock/internal/face"
	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lease"
)

// evil is text that would affect a terminal: it clears the screen, also by a C1
// character, reverses text, rings the bell, contains invalid UTF-8, and forges
// a line.
const evil = "\x1b[2J\x1b]0;title\a\u009b2J\u202etxt\x7f\r\xff\nredlock: forged"

// Untrusted text is always escaped before it reaches a terminal: keys, labels,
// names of elections and jobs, answers of nodes.
func TestOutput_NoCommandPrintsHostileText(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	leases := newLeases(t, s)
	began := time.Now()
	_, err := leases.Campaign(t.Context(), "e", "candidate")
	harness.Must(t, began, err)
	if _, err := leases.RunOnce(t.Context(), "job"+evil, func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	value := "ABCDEFGHIJKLMNOPQRSTUVWXYZ/" + "k0l6rhx5zs" + "/host:1/" + evil
	for i := range s.Len() {
		c := harness.Client(t, s, i)
		errs := []error{
			c.Set(t.Context(), "lock:key"+evil, value, time.Hour).Err(),
			c.Set(t.Context(), "lock:key", value, time.Hour).Err(),
			c.Set(t.Context(), "{lock:poisoned"+evil+"}:fence", time.Now().Add(1000*time.Hour).UnixMicro(), time.Hour).Err(),
		}
		for _, record := range []string{"{lock:election:e}:record", "{lock:once:job" + evil + "}:record"} {
			var data string
			harness.Eventually(t, "the record, which was written to a quorum at first", func() (there bool) {
				var err error
				data, err = c.HGet(t.Context(), record, "data").Result()
				return err == nil
			})
			text, _ := json.Marshal(evil)
			for _, label := range []string{`"candidate":"candidate"`, `"owner":"` + face.In(leases).Config().Owner + `"`} {
				name, _, _ := strings.Cut(label, ":")
				data = strings.Replace(data, label, name+":"+string(text), 1)
			}
			errs = append(errs[:3:3], c.HSet(t.Context(), record, "data", data).Err())
			for _, err := range errs {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	mean := strings.Join(meanNodes(t, 3), ",")
	file := filepath.Join(t.TempDir(), "nodes")
	if err := os.WriteFile(file, []byte("redis://a:1 "+evil), 0o600); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	running := make(chan struct{}, 4)
	for _, args := range [][]string{
		{"ls"}, {"ls", "-o", "json"}, {"ls", "--nodes", mean}, {"ls", "--nodes", mean, "-o", "json"}, {"ls", "--nodes-file", file},
		{"inspect", "key"}, {"inspect", "key" + evil}, {"inspect", "key", "-o", "json"}, {"inspect", "x", "--nodes", mean}, {"inspect", "x", "--nodes", mean, "-o", "json"},
		{"inspect", "once:job" + evil}, {"inspect", "once:job" + evil, "-o", "json"},
		{"nodes", "--nodes", mean}, {"nodes", "--nodes", mean, "-o", "json"}, {"nodes", "--nodes", "redis://" + evil},
		{"doctor", "--nodes", mean}, {"doctor", "--nodes", mean, "-o", "json"}, {"top"}, {"top", "--nodes", mean},
		{"release", "--force", "key"}, {"release", "--force", "key" + evil}, {"release", "--force", "x", "--nodes", mean},
		{"once", "ls"}, {"once", "ls", "-o", "json"}, {"once", "ls", "--nodes", mean}, {"once", "forget", evil}, {"once", "forget", "x", "--nodes", mean},
		{"leader", "e"}, {"leader", "e" + evil}, {"leader", "e", "--nodes", mean},
		{"run", "-v", "--wait", "1ms", "key", "--", "true"}, {"run", "-v", "--no-wait", "key" + evil, "--", "true"}, {"run", "x", "--nodes", mean, "--", "true"},
		{"run", "-v", "x" + evil, "--", "true"}, {"run", "--owner", evil, "x", "--", "true"}, {"run", "x", "--", "no such " + evil},
		{"run", "-v", "--once", "job" + evil, "--", "true"}, {"campaign", "-v", "--wait", "1ms", "e", "--", "true"}, {"campaign", "-v", "e" + evil, "--", "true"},
		{"bench", "--duration", "400ms", "-c", "1", "--nodes", mean}, {"demo", "--nodes", mean}, {"demo", evil}, {"dev", "--port", evil},
		{"nodes", "--repair-fences", "lock:", "--yes", "--nodes", mean}, {"doctor"}, {"doctor", "-o", "json"},
		{"fence", "check", file, "key" + evil, "1"}, {"fence", "check", evil, "key", "1" + evil}, {"fence", evil},
		{"completion", evil}, {evil}, {"--" + evil}, {"version" + evil},
	} {
		running <- struct{}{}
		wg.Go(func() {
			defer func() { <-running }()
			p := launch(t, s.URLs(), args...)
			p.ended()
			for _, o := range []*output{p.stdout, p.stderr} {
				<-o.eof
				p.checkText(o.String())
			}
		})
	}
	wg.Wait()
	// Commands that change the output of others run last.
	watch := launch(t, s.URLs(), "leader", "--watch", "e")
	watch.stdout.line(t, "token ")
	_ = watch.cmd.Process.Kill()
	watch.ended()
	watch.checkText(watch.stdout.String() + watch.stderr.String())
	for _, args := range [][]string{{"once", "forget", "job" + evil}, {"nodes", "--repair-fences", "lock:", "--yes"}} {
		p := launch(t, s.URLs(), args...)
		p.exit(0)
		p.checkText(p.stdout.String() + p.stderr.String())
		p.prints("job|poisoned")
	}
}

// checkText checks that the output contains only text, and no forged line.
func (p *program) checkText(text string) {
	p.t.Helper()
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return r != '\n' && !unicode.IsGraphic(r) }) {
		p.t.Errorf("%q prints %q", p.cmd.Args[1:], text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "redlock: forged") {
			p.t.Errorf("%q prints a forged line: %q", p.cmd.Args[1:], text)
		}
	}
}

func newLeases(t *testing.T, s harness.Set) *lease.Leases {
	t.Helper()
	leases, err := lease.New(open(t, s.URLs()), lease.Config{})
	if err != nil {
		t.Fatal(err)
	}
	harness.CloseAtEnd(t, leases)
	return leases
}

// meanNodes are servers that answer every command with hostile text.
func meanNodes(t *testing.T, n int) (urls []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go answerMeanly(conn)
			}
		}()
		urls = append(urls, "redis://"+l.Addr().String())
	}
	return urls
}

func answerMeanly(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		if strings.HasPrefix(line, "*") { // once for each command
			if _, err := conn.Write([]byte("-ERR " + strings.NewReplacer("\r", "", "\n", "").Replace(evil) + "\r\n")); err != nil {
				return
			}
		}
	}
}
