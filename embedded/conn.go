package embedded

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2/server"
)

const (
	// maxTaken bounds the bytes of one connection that a process holds
	// without having executed them. The rest stays in the network, as it
	// does when the kernel's buffers of a frozen process are full.
	maxTaken = 1 << 20
	// readSize is how much a connection reads at once, the same as in Redis.
	readSize = 16 << 10
	// maxArgs and maxBulk are the limits of Redis for what a client may send.
	maxArgs = 1 << 20
	maxBulk = 512 << 20
)

// conn is a client's connection. One goroutine reads commands and queues them,
// another one writes replies, so that neither a client that does not read nor
// one that has gone keeps the process from its work.
type conn struct {
	id   int64
	net  net.Conn
	proc *process
	peer *server.Peer // writes to this conn

	// Guarded by the process's mu.
	taken    int       // bytes that are queued or deferred
	blocked  bool      // a blocking command is being executed
	deferred []request // what arrived behind it

	mu       sync.Mutex
	wakeup   sync.Cond // signalled when out or finished has changed
	out      []byte    // replies not yet sent
	finished bool
	name     string // as the client calls the connection
}

func newConn(p *process, nc net.Conn, id int64) *conn {
	c := &conn{id: id, net: nc, proc: p}
	c.wakeup.L = &c.mu
	c.peer = server.NewPeer(bufio.NewWriter(c))
	return c
}

// read queues commands as they arrive, whether or not the process executes any.
// It ends when the client has gone or breaks the protocol.
func (c *conn) read() {
	r := bufio.NewReaderSize(c.net, readSize)
	for {
		args, size, err := readCommand(r)
		if err != nil {
			break
		}
		if len(args) > 0 && !c.proc.put(request{conn: c, args: args, size: size}) {
			return
		}
	}
	// A blocking command of a client that has gone must not take anything.
	c.peer.Close()
	c.proc.put(request{conn: c, gone: true})
}

// Write takes replies from the peer. It never waits and never fails: replies to
// a client that has gone go nowhere.
func (c *conn) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.finished {
		c.out = append(c.out, b...)
		c.wakeup.Signal()
	}
	return len(b), nil
}

// finish closes the connection once the replies that there are were sent.
func (c *conn) finish() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finished = true
	c.wakeup.Signal()
}

// write sends replies until the connection is finished.
func (c *conn) write() {
	defer func() { _ = c.net.Close() }() // read ends now, if it has not
	for {
		out, last := c.replies()
		// After an error the replies are lost, and read sees it too.
		_, _ = c.net.Write(out)
		if last {
			return
		}
	}
}

// replies waits for replies, or for the end, and takes them.
func (c *conn) replies() (out []byte, last bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) == 0 && !c.finished {
		c.wakeup.Wait()
	}
	out, c.out = c.out, nil
	return out, c.finished
}

var errProtocol = errors.New("protocol error")

// readCommand reads one command, in either of the two forms that Redis knows:
// an array of strings, or words on a line. It returns no arguments for an empty
// one. The size is about the number of bytes read.
func readCommand(r *bufio.Reader) (args []string, size int, err error) {
	line, err := readLine(r)
	if err != nil {
		return nil, 0, err
	}
	size = len(line)
	if !strings.HasPrefix(line, "*") {
		return strings.Fields(line), size, nil
	}
	n, err := strconv.Atoi(line[1:])
	if err != nil || n > maxArgs {
		return nil, 0, fmt.Errorf("%w: array of %q", errProtocol, line[1:])
	}
	for range n {
		arg, err := readBulk(r)
		if err != nil {
			return nil, 0, err
		}
		args = append(args, arg)
		size += len(arg)
	}
	return args, size, nil
}

func readBulk(r *bufio.Reader) (string, error) {
	line, err := readLine(r)
	if err != nil {
		return "", err
	}
	digits, ok := strings.CutPrefix(line, "$")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 0 || n > maxBulk {
		return "", fmt.Errorf("%w: string of %q", errProtocol, line)
	}
	var b strings.Builder
	if _, err := io.CopyN(&b, r, int64(n)); err != nil {
		return "", err
	}
	if _, err := r.Discard(len("\r\n")); err != nil {
		return "", err
	}
	return b.String(), nil
}

// readLine reads a line without its end. A line longer than a read is an error.
func readLine(r *bufio.Reader) (string, error) {
	line, err := r.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimRight(string(line), "\r\n"), nil
}

// takeName takes in the name that HELLO gives the connection.
func (c *conn) takeName(args []string) {
	for i := 0; i+1 < len(args); i++ {
		if strings.EqualFold(args[i], "SETNAME") {
			c.mu.Lock()
			c.name = args[i+1]
			c.mu.Unlock()
		}
	}
}

// clientList is what CLIENT LIST answers: of each connection its id, address and name.
func (p *process) clientList() string {
	p.mu.Lock()
	conns := slices.SortedFunc(maps.Keys(p.conns), func(a, b *conn) int { return cmp.Compare(a.id, b.id) })
	p.mu.Unlock()
	var b strings.Builder
	for _, c := range conns {
		c.mu.Lock()
		fmt.Fprintf(&b, "id=%d addr=%s name=%s\n", c.id, c.net.RemoteAddr(), c.name)
		c.mu.Unlock()
	}
	return b.String()
}
