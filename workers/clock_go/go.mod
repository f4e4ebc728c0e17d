module clock_go

go 1.19
