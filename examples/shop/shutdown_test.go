package main

import (
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
)

// pipes is a listener in memory, so that a synctest bubble can wait for what
// uses it.
type pipes struct {
	accept chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accept:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// An instance that has to stop answers the requests that it has before it
// ends: what they use is closed then.
func TestShop_AnswersWhatItHasBeforeItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, finish := make(chan bool), make(chan bool)
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			begun <- true
			<-finish
			io.WriteString(w, "done")
		})}
		stdin, stop := io.Pipe()
		l := &pipes{accept: make(chan net.Conn), closed: make(chan struct{})}
		ended := make(chan error, 1)
		go func() { ended <- answerUntil(t.Context(), stdin, server, l) }()

		client, served := net.Pipe()
		l.accept <- served
		answer := make(chan string, 1)
		go func() {
			io.WriteString(client, "GET / HTTP/1.0\r\n\r\n")
			text, _ := io.ReadAll(client)
			answer <- string(text)
		}()
		<-begun
		stop.Close()
		synctest.Wait()
		select {
		case err := <-ended:
			t.Errorf("it ended in the middle of a request: %v", err)
			ended <- err
		default:
		}
		close(finish)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if text := <-answer; len(text) < 4 || text[len(text)-4:] != "done" {
			t.Errorf("the answer is %q", text)
		}
	})
}
