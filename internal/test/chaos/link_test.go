//go:build unix

package chaos

import (
	"bufio"
	"fmt"
	"net"
	"testing"
	"time"
)

// echo starts a node that answers every line with the same line.
func echo(t *testing.T) (addr string, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	lines := make(chan string, 16)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer func() { _ = conn.Close() }()
				for in := bufio.NewScanner(conn); in.Scan(); {
					lines <- in.Text()
					fmt.Fprintln(conn, in.Text())
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

func dialLink(t *testing.T, l *link) (conn net.Conn, says func(string), hears func(time.Duration) string) {
	t.Helper()
	conn, err := net.Dial("tcp", l.addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	in := bufio.NewReader(conn)
	says = func(line string) {
		t.Helper()
		if _, err := fmt.Fprintln(conn, line); err != nil {
			t.Fatal(err)
		}
	}
	hears = func(d time.Duration) string {
		t.Helper()
		if err := conn.SetReadDeadline(time.Now().Add(d)); err != nil {
			t.Fatal(err)
		}
		line, _ := in.ReadString('\n') // "" if nothing arrived
		return line
	}
	return conn, says, hears
}

const (
	soon   = 5 * time.Second
	anyway = 50 * time.Millisecond // how long to wait to be sure that nothing arrives
)

func testLink(t *testing.T) (l *link, got <-chan string) {
	t.Helper()
	addr, got := echo(t)
	l, err := newLink(addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l, got
}

func heard(t *testing.T, got <-chan string, want string) {
	t.Helper()
	select {
	case line := <-got:
		if line != want {
			t.Errorf("the node got %q, want %q", line, want)
		}
	case <-time.After(soon):
		t.Errorf("the node did not get %q", want)
	}
}

func TestLink_HeldBytesArriveLaterAlsoFromAClientThatLeft(t *testing.T) {
	l, got := testLink(t)
	conn, says, hears := dialLink(t, l)
	says("one")
	heard(t, got, "one")
	if hears(soon) != "one\n" {
		t.Fatal("no answer through a link that passes")
	}
	l.set(weather{gates: [2]gate{hold, pass}})
	says("two")
	select {
	case line := <-got:
		t.Fatalf("the node got %q through a link that holds", line)
	case <-time.After(anyway):
	}
	_ = conn.Close()
	l.set(weather{})
	heard(t, got, "two")
}

func TestLink_ALostReplyEndsItsConnectionWhenTheLinkIsWell(t *testing.T) {
	l, got := testLink(t)
	_, says, hears := dialLink(t, l)
	l.set(weather{gates: [2]gate{pass, lose}})
	says("one")
	heard(t, got, "one")
	if line := hears(anyway); line != "" {
		t.Fatalf("%q arrived through a link that loses", line)
	}
	l.set(weather{})
	if line := hears(soon); line != "" {
		t.Errorf("%q arrived on a connection that had lost bytes", line)
	}
	_, says, hears = dialLink(t, l)
	says("two")
	if hears(soon) != "two\n" {
		t.Error("no answer on a new connection")
	}
}

func TestLink_DelaysAndSnaps(t *testing.T) {
	l, _ := testLink(t)
	conn, says, hears := dialLink(t, l)
	l.set(weather{delay: [2]time.Duration{20 * time.Millisecond, 20 * time.Millisecond}})
	for i := range 5 { // in order, whatever the delay of each
		says(fmt.Sprint(i))
	}
	for i := range 5 {
		if got := hears(soon); got != fmt.Sprintln(i) {
			t.Fatalf("line %d is %q", i, got)
		}
	}
	l.snap()
	if err := conn.SetReadDeadline(time.Now().Add(soon)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 1)); err == nil {
		t.Error("the connection survived")
	} else if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Error("the client did not notice")
	}
}
