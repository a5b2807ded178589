case $(qstat --version 2>&1 </dev/null | head -n 1) in
*pbs_version* | Version:*)
	echo '== other'
	qstat --version 2>&1 | head -n 1
	exit
	;;
esac
echo '== version'
qstat -help 2>&1 | head -n 1
echo '== load'
qstat -g c || exit
SGE_SINGLE_LINE=1
export SGE_SINGLE_LINE
echo '== queues'
gat_q=$(qconf -sql | head -n 100 | tr '\n' ,)
qconf -sq "${gat_q%,}" || exit
echo '== environments'
for gat_p in $(qconf -spl 2>/dev/null | head -n 100); do
	qconf -sp "$gat_p"
done
echo '== resources'
qconf -sc
echo '== nodes'
qconf -sel | head -n 16
echo '== config'
qconf -sconf 2>/dev/null | grep -E '^(enforce_project|max_aj_tasks) '
echo '== end'
