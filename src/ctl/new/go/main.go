// The worker at __ROUTE__. tqserver takes the route off, so paths here start at /.
package main

import (
	"context"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	log.SetFlags(0) // the journal has its own time for every line
	told, forget := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer forget()

	mux := http.NewServeMux()
	mux.HandleFunc("/", page)
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })

	listener, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	notify("READY=1")
	log.Printf("serving on %s", listener.Addr())

	select {
	case err := <-failed:
		log.Fatal(err)
	case <-told.Done():
		server.Shutdown(context.Background()) // returns when what is in flight is through
		log.Print("stopped")
	}
}

// page answers GET / with private/page.html, which is read anew each time.
func page(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(w, r)
		return
	}
	file := filepath.Join(os.Getenv("TQ_WORKER_BASE"), "private", "page.html")
	parsed, err := template.ParseFiles(file)
	if err != nil {
		log.Print(err)
		http.Error(w, "the page cannot be read", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Links start where clients see the worker.
	values := map[string]string{"Generation": os.Getenv("TQ_GENERATION"), "Prefix": r.Header.Get("X-Forwarded-Prefix")}
	if err := parsed.Execute(w, values); err != nil {
		log.Print(err)
	}
}

// notify sends a message to systemd, if it is there (sd_notify(3)).
func notify(message string) {
	path := os.Getenv("NOTIFY_SOCKET")
	if path == "" {
		return
	}
	socket, err := net.Dial("unixgram", path)
	if err != nil {
		log.Fatal(err)
	}
	defer socket.Close()
	if _, err := socket.Write([]byte(message)); err != nil {
		log.Fatal(err)
	}
}
