package main

import "testing"

func TestRun_TheCommandDiesWithRedlock(t *testing.T) {
	t.Parallel()
	s := nodes(t, 3)
	p := launch(t, s.URLs(), with(testCommand(t, "stubborn"), "key")...)
	p.stdout.line(t, "stubborn ready")
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.exit(-1) // waits until no process holds the output open
}
