"""A day's stored figures as one HTML file that needs nothing else: everybody's night, or one portfolio in full.

What is read is in figures.py, the frame and the parts of a page in page.py, the two pages in night.py and book.py, drawings
in chart.py, the look in report.css, the file on the disk in file.py."""
