package embedded

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// process is one life of a node, from a start to the stop that follows. It is
// built like a Redis process: connections put their commands into one queue in
// the order of arrival, and one goroutine, run, executes them one after
// another with the commands of a miniredis.
//
// That is done here, and not by miniredis, which gives each connection a
// goroutine of its own: only with a queue can a frozen process take commands
// and execute them in order when it goes on.
type process struct {
	listener net.Listener
	data     *miniredis.Miniredis
	srv      *server.Server // miniredis's table of commands; it serves nobody
	runID    string
	started  time.Time

	goroutines sync.WaitGroup // all of the process

	mu       sync.Mutex
	changed  sync.Cond // broadcast when any of the fields below has changed
	queue    []request // taken and not yet executed, oldest first
	busy     bool      // run is executing a command
	frozen   bool
	paused   int // CLIENT PAUSE commands that are in force
	dead     bool
	conns    map[*conn]struct{}
	accepted int64 // connections since the start
	counts   map[string]int64
}

// request is one command of a connection, or the news that it has gone.
type request struct {
	conn *conn
	args []string // never empty, unless gone
	size int      // bytes on the wire
	gone bool     // nothing will follow from this connection
}

// startProcess serves data on l. On success the process owns l.
func startProcess(l net.Listener, data *miniredis.Miniredis) (*process, error) {
	// Closing a miniredis ends this context for good, and blocking commands
	// of a server with a dead context return without a reply.
	data.Lock()
	data.Ctx, data.CtxCancel = context.WithCancel(context.Background())
	data.Unlock()

	// To dial is the way to start a miniredis without a listener.
	unused, err := data.Dial()
	if err != nil {
		return nil, err
	}
	if err := unused.Close(); err != nil {
		data.Close()
		return nil, err
	}
	p := &process{
		listener: l,
		data:     data,
		srv:      data.Server(),
		runID:    newRunID(),
		started:  time.Now(),
		conns:    map[*conn]struct{}{},
		counts:   map[string]int64{},
	}
	p.changed.L = &p.mu
	p.goroutines.Go(p.accept)
	p.goroutines.Go(p.run)
	return p, nil
}

// newRunID returns 40 random hexadecimal digits.
func newRunID() string {
	var b [20]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// accept takes connections until the listener is closed.
func (p *process) accept() {
	for {
		nc, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil { // else this connection is gone already; the listener is not
			p.serve(nc)
		}
	}
}

func (p *process) serve(nc net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		_ = nc.Close() // nothing was sent on it
		return
	}
	p.accepted++
	c := newConn(p, nc, p.accepted)
	p.conns[c] = struct{}{}
	p.goroutines.Go(c.read)
	p.goroutines.Go(c.write)
}

// put queues a request. It waits while the process holds as much of the
// connection as it is willing to, and reports whether the process still lives.
func (p *process) put(r request) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r.conn.taken > maxTaken && !p.dead {
		p.changed.Wait()
	}
	if p.dead {
		return false
	}
	r.conn.taken += r.size
	p.queue = append(p.queue, r)
	p.changed.Broadcast()
	return true
}

// run executes what is queued until the process is dead.
func (p *process) run() {
	for {
		r, ok := p.next()
		if !ok {
			return
		}
		p.execute(r)
		p.mu.Lock()
		p.busy = false
		p.changed.Broadcast()
		p.mu.Unlock()
	}
}

// next waits for the next request that can be executed, and makes the process
// busy with it. It reports false when the process is dead.
func (p *process) next() (request, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		for !p.dead && (p.frozen || p.paused > 0 || len(p.queue) == 0) {
			p.changed.Wait()
		}
		if p.dead {
			return request{}, false
		}
		r := p.queue[0]
		p.queue = p.queue[1:]
		if c := r.conn; c.blocked {
			c.deferred = append(c.deferred, r)
			if r.gone {
				p.goroutines.Go(p.wake) // the command that blocks it ends now
			}
			continue
		}
		r.conn.taken -= r.size
		p.changed.Broadcast() // there is room for the connection's next
		p.busy = true
		return r, true
	}
}

// execute executes one request. A command that may have to wait for others is
// executed on the side, and what follows on its connection is deferred.
func (p *process) execute(r request) {
	if r.gone {
		p.forget(r.conn)
		return
	}
	cmd := strings.ToUpper(r.args[0])
	p.count(cmd, r.args[1:])
	if !mayBlock(cmd, r.args[1:]) {
		p.dispatch(r.conn, cmd, r.args)
		return
	}
	p.block(r.conn)
	p.goroutines.Go(func() {
		p.dispatch(r.conn, cmd, r.args)
		p.unblock(r.conn)
	})
}

func (p *process) dispatch(c *conn, cmd string, args []string) {
	if !p.answer(c, cmd, args[1:]) {
		p.srv.Dispatch(c.peer, args)
	}
	c.peer.Flush()
	if cmd == "QUIT" {
		c.finish()
	}
}

func (p *process) block(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.blocked = true
}

// unblock puts what was deferred back where it came from, the queue's head.
func (p *process) unblock(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.blocked = false
	p.queue = append(c.deferred, p.queue...)
	c.deferred = nil
	p.changed.Broadcast()
}

// wake has every blocking command look again whether it can go on; one whose
// client has gone then ends. Any command that takes miniredis's lock does it.
func (p *process) wake() {
	p.srv.Dispatch(discard(), []string{"PING"})
}

// forget ends a connection. It stands in for the clean-up that miniredis does
// for connections of its own.
func (p *process) forget(c *conn) {
	for _, cmd := range []string{"DISCARD", "UNSUBSCRIBE", "PUNSUBSCRIBE"} {
		p.srv.Dispatch(c.peer, []string{cmd})
	}
	c.finish()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// freeze stops the process in its tracks. When it returns, no command is being
// executed.
func (p *process) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
	for p.busy {
		p.changed.Wait()
	}
}

// thaw lets the process go on.
func (p *process) thaw() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = false
	p.changed.Broadcast()
}

// pause has the process execute nothing for d, from the next command on.
func (p *process) pause(d time.Duration) {
	change := func(by int) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.paused += by
		p.changed.Broadcast()
	}
	change(1)
	time.AfterFunc(d, func() { change(-1) })
}

// stop ends the process as a kill does: what it has not executed by now is
// lost. It waits for the goroutines.
func (p *process) stop() {
	_ = p.listener.Close() // it can only have been closed already
	conns := p.die()
	for c := range conns {
		_ = c.net.Close() // what was not sent is lost
		c.finish()
	}
	p.data.Close() // ends blocking commands
	p.goroutines.Wait()
	for c := range conns {
		p.forget(c)
	}
	// No restart of a Redis keeps its scripts.
	p.srv.Dispatch(discard(), []string{"SCRIPT", "FLUSH"})
}

// die ends the execution of commands and returns the connections there are;
// there will be no others.
func (p *process) die() map[*conn]struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dead = true
	p.changed.Broadcast()
	return maps.Clone(p.conns)
}

// queued returns the number of requests that wait for their execution.
func (p *process) queued() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue)
}

// count counts a command that is about to be executed. Names that do not exist
// are not counted.
func (p *process) count(cmd string, args []string) {
	if cmd != "CONFIG" && !p.srv.IsRegisteredCommand(cmd) {
		return
	}
	name := strings.ToLower(cmd)
	if len(args) > 0 && hasSubcommands(cmd) {
		name += "|" + strings.ToLower(args[0])
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[name]++
}

func (p *process) commands() map[string]int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.counts)
}

func hasSubcommands(cmd string) bool {
	switch cmd {
	case "CLIENT", "CLUSTER", "COMMAND", "CONFIG", "MEMORY", "OBJECT", "PUBSUB", "SCRIPT", "XGROUP", "XINFO":
		return true
	}
	return false
}

// mayBlock reports whether the command can wait for other commands.
func mayBlock(cmd string, args []string) bool {
	switch cmd {
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BZPOPMIN", "BZPOPMAX", "BZMPOP":
		return true
	case "XREAD", "XREADGROUP":
		for _, arg := range args {
			if strings.EqualFold(arg, "BLOCK") {
				return true
			}
		}
	}
	return false
}

// discard returns a peer whose replies go nowhere.
func discard() *server.Peer { return server.NewPeer(bufio.NewWriter(io.Discard)) }
