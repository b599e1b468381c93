package redisserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// errPortTaken is the cause of a start that failed because another process
// listens on the port.
var errPortTaken = errors.New("the port is taken by another process")

// process is one running redis-server.
type process struct {
	pid     int
	os      *os.Process
	logFile string
	exited  chan struct{} // closed when the process has ended
	waitErr error         // how it ended, valid once exited is closed
}

// startProcess runs the command in dir.
//
// A goroutine lives as long as the process, locked to a thread: if the process
// dies with its parent, the parent is the thread that started it, and Go may
// end any thread to which no goroutine is locked.
func startProcess(cmd *exec.Cmd, dir string) (*process, error) {
	p := &process{logFile: filepath.Join(dir, "redis.log"), exited: make(chan struct{})}
	log, err := os.Create(p.logFile)
	if err != nil {
		return nil, err
	}
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = log, log

	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		_ = log.Close() // the process has its own descriptor
		started <- err
		if err != nil {
			return
		}
		p.waitErr = cmd.Wait()
		close(p.exited)
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	p.os, p.pid = cmd.Process, cmd.Process.Pid
	return p, nil
}

// kill kills the process and waits for its end.
func (p *process) kill() {
	_ = p.os.Kill() // fails if the process has ended already
	<-p.exited
}

// failure returns why the process has exited.
func (p *process) failure() error {
	log := p.logTail()
	err := fmt.Errorf("redis-server ended: %w; its log ends with:\n%s", p.waitErr, log)
	if p.waitErr == nil {
		err = fmt.Errorf("redis-server ended by itself; its log ends with:\n%s", log)
	}
	if bytes.Contains(log, []byte("Address already in use")) {
		return errors.Join(errPortTaken, err)
	}
	return err
}

// logTail returns the end of the process's log.
func (p *process) logTail() []byte {
	const most = 4 << 10
	log, err := os.ReadFile(p.logFile)
	if err != nil {
		return []byte(err.Error())
	}
	return log[max(0, len(log)-most):]
}
